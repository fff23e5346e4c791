export POSTGRES_PASSWORD=secret
docker-entrypoint.sh postgres &
export PGPASSWORD=$POSTGRES_PASSWORD
await psql -h 127.0.0.1 -U postgres -c 'select 1'
test "$(psql -h 127.0.0.1 -U postgres -Atc 'select answer from answers')" = 42
test "$(stat -c %U:%G:%a "$PGDATA")" = postgres:postgres:700
test "$(stat -c %U "$PGDATA/PG_VERSION")" = postgres
test "$(gosu postgres psql -Atc 'select current_user')" = postgres
