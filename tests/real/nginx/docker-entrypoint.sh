#!/bin/sh
set -e

if [ "$1" = "nginx" ] || [ "$1" = "nginx-debug" ]; then
	if find "/docker-entrypoint.d/" -mindepth 1 -maxdepth 1 -type f -print -quit 2>/dev/null | read -r _; then
		find "/docker-entrypoint.d/" -follow -type f -print | sort -V | while read -r f; do
			case "$f" in
				*.sh) if [ -x "$f" ]; then echo "$0: launching $f"; "$f"; fi ;;
				*) echo "$0: ignoring $f" ;;
			esac
		done
	fi
fi

exec "$@"
