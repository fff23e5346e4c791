export MARIADB_ROOT_PASSWORD=secret
docker-entrypoint.sh mariadbd &
export MYSQL_PWD=$MARIADB_ROOT_PASSWORD
await mariadb -h 127.0.0.1 -u root -e 'select 1'
test "$(mariadb -h 127.0.0.1 -u root -N -e 'select answer from trial.answers')" = 42
test "$(stat -c %U:%G /var/lib/mysql/ibdata1)" = mysql:mysql
