#!/bin/bash
set -eo pipefail

DATADIR=/var/lib/mysql
SOCKET=/run/mysqld/mysqld.sock

if [ "$1" = mariadbd ] && [ "$(id -u)" = 0 ]; then
	mkdir -p "$DATADIR"
	find "$DATADIR" \! -user mysql -exec chown mysql: '{}' +
	find "${SOCKET%/*}" -maxdepth 0 \! -user mysql -exec chown mysql: '{}' \;
	exec gosu mysql "${BASH_SOURCE[0]}" "$@"
fi

if [ "$1" = mariadbd ] && [ ! -d "$DATADIR/mysql" ]; then
	mariadb-install-db --datadir="$DATADIR" --skip-test-db --auth-root-authentication-method=normal \
		--old-mode='UTF8_IS_UTF8MB3' --rpm > /dev/null
	"$@" --skip-networking --default-time-zone=SYSTEM --socket="$SOCKET" --wsrep_on=OFF &
	pid=$!
	for _ in {60..0}; do
		if mariadb -uroot --socket="$SOCKET" -e 'SELECT 1' &> /dev/null; then break; fi
		sleep 1
	done
	mariadb -uroot --socket="$SOCKET" <<-EOSQL
		CREATE DATABASE trial;
		DROP USER IF EXISTS root@'127.0.0.1', root@'::1';
		ALTER USER root@localhost IDENTIFIED BY '$MARIADB_ROOT_PASSWORD';
		CREATE USER root@'%' IDENTIFIED BY '$MARIADB_ROOT_PASSWORD';
		GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;
	EOSQL
	for f in /docker-entrypoint-initdb.d/*.sql; do
		MYSQL_PWD=$MARIADB_ROOT_PASSWORD mariadb -uroot --socket="$SOCKET" trial < "$f"
	done
	kill "$pid"
	wait "$pid"
fi

exec "$@"
