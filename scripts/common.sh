# What the scripts here do alike. They read it once they are in the folder above.
# shellcheck shell=bash

# Whether a program is there.
have() { command -v "$1" >/dev/null 2>&1; }

# Where cargo builds.
target_directory() {
    cargo metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}

# Installs packages of Debian: NAME…
install_packages() {
    if ! have apt-get; then
        echo "missing: $*; install it and run this again" >&2
        exit 1
    fi
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -q >&2
    $sudo apt-get install -qy --no-install-recommends "$@" >&2
}

# Makes a Python of its own with what a file names, anew where that has changed:
# FOLDER FILE [OPTION OF PIP]…
python_venv() {
    local venv=$1 wanted=$2
    shift 2
    # Debian keeps venv apart from Python.
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3 python3-venv
    if cmp -s "$wanted" "$venv/installed.txt"; then return; fi
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" -r "$wanted" >&2
    cp "$wanted" "$venv/installed.txt"
}
