export JUPYTER_TOKEN=token
tini -g -- start.sh start-notebook.sh --port 18888 &
await curl -sf http://127.0.0.1:18888/api/status?token=token
curl -sf http://127.0.0.1:18888/api/kernelspecs?token=token | grep -q '"default": *"python3"'
test "$(id -u)" = 1000
python3 -c 'import pandas; print(pandas.DataFrame({"answer": [42]}).sum())'
touch work/mine
test "$(stat -c %U:%G work/mine)" = jovyan:users
