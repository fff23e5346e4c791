export RABBITMQ_NODENAME=rabbit@localhost
docker-entrypoint.sh rabbitmq-server &
await gosu rabbitmq rabbitmqctl await_startup --timeout 5
gosu rabbitmq rabbitmqctl add_vhost answer
gosu rabbitmq rabbitmqctl list_vhosts | grep -q answer
test "$(stat -c %U:%a /var/lib/rabbitmq/.erlang.cookie)" = rabbitmq:400
