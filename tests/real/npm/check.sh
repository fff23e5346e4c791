docker-entrypoint.sh dumb-init node server.js &
await curl -sf http://127.0.0.1:13000/who
test "$(curl -sf http://127.0.0.1:13000/who)" = node
curl -sf http://127.0.0.1:13000/client.js | grep -q answer
curl -sf http://127.0.0.1:13000/picture | head -c 4 | grep -q PNG
