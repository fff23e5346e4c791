#!/bin/bash
set -e

unset XDG_RUNTIME_DIR
if [ "$(id -u)" = 0 ]; then
    chown "${NB_UID}:${NB_GID}" "/home/${NB_USER}"
    echo "${NB_USER} ALL=(ALL) NOPASSWD:ALL" > /etc/sudoers.d/added-by-start-script
    exec sudo --preserve-env --set-home --user "${NB_USER}" LD_LIBRARY_PATH="${LD_LIBRARY_PATH}" \
        PATH="${PATH}" "$@"
fi
if [ ! -w /home/"${NB_USER}" ]; then
    echo "no write access to /home/${NB_USER}" >&2
    exit 1
fi
exec "$@"
