#!/usr/bin/env bash
set -e

if [ -n "$USE_SYSTEM_CA_CERTS" ]; then
	trust extract --overwrite --format=java-cacerts --filter=ca-anchors --purpose=server-auth \
		"$JAVA_HOME/lib/security/cacerts"
fi
exec "$@"
