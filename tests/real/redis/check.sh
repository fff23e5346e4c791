docker-entrypoint.sh redis-server &
await redis-cli ping
redis-cli set answer 42
test "$(redis-cli get answer)" = 42
redis-cli save
test "$(stat -c %U:%a /data/dump.rdb)" = redis:600
