#!/bin/sh
# Passwords are files, but Dagster and Postgres read them from the environment. What editors leave around a password is
# removed, as for the importer's secrets: a byte order mark, white space, line ends, carriage returns.
set -eu

bom=$(printf '\357\273\277')

fail() {
    echo "importer-entrypoint: $1" >&2
    exit 78
}

# Print the password in the file $1.
password_in() {
    [ -r "$1" ] && [ ! -d "$1" ] || fail "the password file $1 can't be read: put it there, readable for user $(id -u)"
    text=$(cat "$1") || fail "the password file $1 can't be read"
    text=${text#"$bom"}
    text=${text#"${text%%[![:space:]]*}"}
    text=${text%"${text##*[![:space:]]}"}
    case $text in
        '') fail "the password file $1 is empty: put the password into it" ;;
        *[[:cntrl:]]*)
            fail "the password file $1 holds several lines or control characters: put the bare password into it" ;;
    esac
    printf '%s' "$text"
}

if [ -n "${DAGSTER_PG_PASSWORD_FILE:-}" ]; then
    DAGSTER_PG_PASSWORD=$(password_in "$DAGSTER_PG_PASSWORD_FILE")
    export DAGSTER_PG_PASSWORD
fi
if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
    POSTGRES_PASSWORD=$(password_in "$POSTGRES_PASSWORD_FILE")
    export POSTGRES_PASSWORD
    unset POSTGRES_PASSWORD_FILE
fi
exec "$@"
