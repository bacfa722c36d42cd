"""Auditing credit: how good it is, and whether a run can be replayed exactly."""

from c3jax.audit.buckets import Bucket as Bucket
from c3jax.audit.buckets import Candidate as Candidate
from c3jax.audit.diagnostics import fidelity as fidelity
from c3jax.audit.diagnostics import influence as influence
from c3jax.audit.diagnostics import variance as variance
