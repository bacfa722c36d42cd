# shellcheck shell=bash
# What the launch scripts share: flags, help, dry runs. Sourced, never run.
#
# A script fills `flag` with its flags and their defaults (`switch` with those that take
# no value, `many` with those that may be repeated, a line for each), then calls
# `parse "$@"`. Afterwards `words` holds the arguments that are not flags and `rest` what
# stood after `--`.

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
    printf '%s needs bash 4.4, this is %s\n' "${0##*/}" "$BASH_VERSION" >&2
    exit 2
fi

declare -A flag=() switch=([dry-run]=no) many=()
declare -a words=() rest=()
script=${0##*/}

say() { printf '%s: %s\n' "$script" "$*" >&2; }

# A mistake of whoever typed the command.
refuse() {
    say "$*"
    exit 2
}

# Prints the comment a script begins with.
usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"; }

# nearest WORD CANDIDATE...: the candidate with the fewest letters to change.
nearest() {
    printf '%s\n' "$@" | awk '
        NR == 1 { word = $0; next }
        {
            n = length(word); m = length($0)
            for (j = 0; j <= m; j++) row[j] = j
            for (i = 1; i <= n; i++) {
                corner = row[0]; row[0] = i
                for (j = 1; j <= m; j++) {
                    best = corner + (substr(word, i, 1) != substr($0, j, 1))
                    if (row[j] + 1 < best) best = row[j] + 1
                    if (row[j - 1] + 1 < best) best = row[j - 1] + 1
                    corner = row[j]; row[j] = best
                }
            }
            if (found == "" || row[m] < least) { least = row[m]; found = $0 }
        }
        END { print found }'
}

parse() {
    local argument name close
    while (($#)); do
        argument=$1
        shift
        name=${argument#--}
        name=${name%%=*}
        case $argument in
            --)
                rest=("$@")
                return
                ;;
            --help | -h)
                usage
                exit 0
                ;;
            --*=*)
                if [[ -v flag[$name] ]]; then
                    flag[$name]=${argument#*=}
                    continue
                elif [[ -v many[$name] ]]; then
                    many[$name]+=${argument#*=}$'\n'
                    continue
                elif [[ -v switch[$name] ]]; then
                    refuse "--$name takes no value: leave out =${argument#*=}"
                fi
                ;;
            --*)
                if [[ -v switch[$name] ]]; then
                    switch[$name]=yes
                    continue
                elif [[ -v flag[$name] || -v many[$name] ]]; then
                    refuse "--$name needs a value: --$name=VALUE"
                fi
                ;;
            -*) refuse "unknown flag $argument; --help lists them all" ;;
            *)
                words+=("$argument")
                continue
                ;;
        esac
        close=$(nearest "$name" "${!flag[@]}" "${!switch[@]}" "${!many[@]}")
        refuse "unknown flag --$name; did you mean --$close? What is for c3jax.main goes" \
            "after --, and --help lists the rest"
    done
}

# need NAME WHAT: refuses to go on without a flag.
need() { [[ -n ${flag[$1]} ]] || refuse "add --$1=$2"; }

# count NAME LEAST: refuses a flag that is not a whole number, or too small a one.
count() {
    if [[ ! ${flag[$1]} =~ ^[0-9]{1,9}$ ]] || ((10#${flag[$1]} < $2)); then
        refuse "--$1=${flag[$1]} is not a whole number of $2 or more"
    fi
    flag[$1]=$((10#${flag[$1]})) # 08 is 8, not octal
}

# choice OF...: the one word that says what to do.
choice() {
    local known
    case ${#words[@]} in
        0) refuse "say what to do: $*" ;;
        1) ;;
        *) refuse "one thing at a time, not: ${words[*]}" ;;
    esac
    for known in "$@"; do
        if [[ $known == "${words[0]}" ]]; then
            printf '%s' "$known"
            return
        fi
    done
    refuse "unknown command ${words[0]}; did you mean $(nearest "${words[0]}" "$@")?"
}

need_rest() {
    ((${#rest[@]})) || refuse "add, after --, $1"
}

# The value of a flag among the arguments for c3jax.main, which takes --NAME=VALUE,
# --NAME VALUE and one dash as well; the last one counts.
given() {
    local argument before='' found=''
    for argument in "${rest[@]}"; do
        if [[ $argument =~ ^--?$1=(.*)$ ]]; then
            found=${BASH_REMATCH[1]}
        elif [[ $before =~ ^--?$1$ ]]; then
            found=$argument
        fi
        before=$argument
    done
    printf '%s' "$found"
}

# Words as one line that any shell reads back as the same words.
quoted() {
    local word line='' quote="'\\''"
    for word in "$@"; do
        [[ $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]] || word="'${word//\'/"$quote"}'"
        line+=" $word"
    done
    printf '%s' "${line:1}"
}

dry() { [[ ${switch[dry-run]} == yes ]]; }

# Does it, or says what would be done.
run() {
    if dry; then
        quoted "$@"
        printf '\n'
    else
        "$@"
    fi
}

# await PID: waits until a child has ended; returns its code. A trapped signal that comes
# during `wait` can make bash lose the code, so that is only asked for in the end.
await() {
    while kill -0 "$1" 2>/dev/null; do
        sleep 0.1 || true
    done
    wait "$1"
}
