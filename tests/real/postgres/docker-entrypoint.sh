#!/usr/bin/env bash
set -Eeo pipefail

create_folders() {
	local user; user="$(id -u)"
	mkdir -p "$PGDATA"
	chmod 00700 "$PGDATA" || :
	mkdir -p /var/run/postgresql || :
	chmod 03775 /var/run/postgresql || :
	if [ "$user" = '0' ]; then
		find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
		find /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
	fi
}

init_database() {
	if ! getent passwd "$(id -u)" &> /dev/null; then
		export LD_PRELOAD=libnss_wrapper.so NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
		NSS_WRAPPER_PASSWD="$(mktemp)"
		NSS_WRAPPER_GROUP="$(mktemp)"
		echo "postgres:x:$(id -u):$(id -g):PostgreSQL:$PGDATA:/bin/false" > "$NSS_WRAPPER_PASSWD"
		echo "postgres:x:$(id -g):" > "$NSS_WRAPPER_GROUP"
	fi
	initdb --username="${POSTGRES_USER:-postgres}" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
		--auth-host=scram-sha-256
	printf '\nhost all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
}

_main() {
	if [ "$1" = 'postgres' ]; then
		create_folders
		if [ "$(id -u)" = '0' ]; then
			exec gosu postgres "$BASH_SOURCE" "$@"
		fi
		if [ ! -s "$PGDATA/PG_VERSION" ]; then
			ls /docker-entrypoint-initdb.d/ > /dev/null
			init_database
			pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p ${PGPORT:-5432}" -w start
			for f in /docker-entrypoint-initdb.d/*.sql; do
				psql -v ON_ERROR_STOP=1 --username postgres --no-password --no-psqlrc -f "$f"
			done
			pg_ctl -D "$PGDATA" -m fast -w stop
		fi
	fi
	exec "$@"
}

_main "$@"
