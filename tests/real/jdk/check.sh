/__cacert_entrypoint.sh java -jar app.jar &
await curl -sf http://127.0.0.1:18080/
test "$(curl -sf http://127.0.0.1:18080/)" = app
