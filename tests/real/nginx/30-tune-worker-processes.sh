#!/bin/sh
set -eu

sed -i.bak -r "s/^(\s*)worker_processes .*;/\1worker_processes $(nproc);/" /etc/nginx/nginx.conf
