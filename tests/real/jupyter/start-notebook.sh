#!/bin/bash
set -e

exec jupyter lab ${NOTEBOOK_ARGS} "$@"
