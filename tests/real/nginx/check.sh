export NGINX_PORT=${PORT:-80} NGINX_NAME=this
/docker-entrypoint.sh nginx -g 'daemon off;' &
await curl -sf "http://127.0.0.1:$NGINX_PORT/who"
test "$(curl -sf "http://127.0.0.1:$NGINX_PORT/who")" = this
curl -sf "http://127.0.0.1:$NGINX_PORT/index.html" | grep -q 'Welcome to nginx'
