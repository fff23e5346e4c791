"""What every sandbox promises; see imagesmith.interfaces.Sandbox."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import need_root
from tests.worker.sandbox.conftest import Bench, Done, Driver, make_bench

pytestmark = pytest.mark.everyone


def bind(source: Path, target: str, **more: Any) -> dict[str, Any]:
    """A bind mount."""
    return {"kind": "bind", "source": str(source), "target": target, **more}


def file(target: str, data: bytes, **more: Any) -> dict[str, Any]:
    """A file of given bytes."""
    return {"kind": "file", "target": target, "data": data, "mode": 0o400, **more}


@pytest.fixture
def nap() -> str:
    """Hours as an argument of sleep that no other process on the machine has."""
    return f"31000.{int.from_bytes(os.urandom(5), 'big')}"


def need_mounts(bench: Bench) -> None:
    if bench.kind == "chroot":
        pytest.skip("a chroot cannot hold it; the documentation says so")


def need_admin(bench: Bench) -> None:
    """Behind a chroot some things hold only for root who is in no container."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    if bench.kind == "chroot" and not int(status["CapEff"], 16) & 1 << 21:
        pytest.skip("a chroot cannot hold it; the documentation says so")


# --- the command -------------------------------------------------------------------------------


def test_status_and_both_streams_come_back(bench: Bench) -> None:
    done = bench.sh("echo one; echo two >&2; exit 7")
    assert (done.status, done.out, done.err, done.error) == (7, "one\n", "two\n", "")


def test_arguments_and_environment_are_exactly_what_was_given(bench: Bench) -> None:
    done = bench.run(
        "sh", "-c", 'echo "$0|$1|$#"; exec env', "a b", "", env={"PATH": "/bin", "X": "1 2", "HOME": "é"}
    )
    first, *rest = done.out.splitlines()
    assert first == "a b||1"
    assert {line for line in rest if line.split("=")[0] not in ("PWD", "SHLVL", "_", "OLDPWD")} == {
        "PATH=/bin", "X=1 2", "HOME=é"
    }  # fmt: skip


def test_program_that_is_nowhere_in_path_is_named(bench: Bench) -> None:
    done = bench.run("no-such-tool", "x")
    assert (done.status, done.code) == (None, "not-started")
    assert done.error == 'exec: "no-such-tool": executable file not found in $PATH'


def test_file_without_x_bit_is_refused(bench: Bench) -> None:
    (bench.root / "tool").write_text("#!/bin/sh\n")
    done = bench.run("/tool")
    assert (done.code, done.error) == ("not-started", 'exec: "/tool": permission denied')


def test_standard_input_is_at_its_end_and_nothing_else_is_open(bench: Bench) -> None:
    done = bench.sh(
        "cat; read x || echo end; for n in 3 4 5 6 7 8 9; do (: <&$n) 2>/dev/null && echo $n; done; :"
    )
    assert (done.status, done.out) == (0, "end\n")


def test_step_with_a_terminal_has_one_on_all_streams(bench: Bench) -> None:
    done = bench.sh("test -t 0 && test -t 1 && test -t 2 && echo yes; exit 3", tty=True)
    assert (done.status, done.out, done.error) == (3, "yes\r\n", "")


def test_signals_are_not_ignored_and_umask_is_022(bench: Bench) -> None:
    done = bench.sh("umask; sh -c 'kill -TERM $$'; echo $?; sh -c 'kill -PIPE $$'; echo $?")
    assert done.out == "0022\n143\n141\n"


def test_working_folder_is_made_and_stays(bench: Bench) -> None:
    done = bench.sh("pwd; stat -c '%a %u:%g' /w/x", cwd="/w/x")
    assert done.out == "/w/x\n755 0:0\n"
    assert (bench.root / "w" / "x").is_dir()


def test_user_and_groups_are_the_step_s(bench: Bench) -> None:
    if bench.ids == "single" and bench.kind != "native":
        pytest.skip("one id only")
    done = bench.sh("id -u; id -g; id -G; touch /bin/x", uid=7, gid=8, groups=[8, 9])
    assert done.out == "7\n8\n8 9\n"
    assert "Permission denied" in done.err


def test_groups_of_root_are_the_step_s(bench: Bench) -> None:
    done = bench.sh("id -G; grep ^Groups: /proc/self/status; :", groups=[0, 10])
    if bench.ids == "single" and bench.kind != "native":  # one id only, but it runs
        assert done.status == 0
        return
    assert done.out.splitlines()[0] == "0 10"
    if bench.kind != "chroot" and bench.ids != "single":
        assert done.out.splitlines()[1].split() == ["Groups:", "0", "10"]


def test_user_may_open_its_streams_by_name(bench: Bench) -> None:
    need_mounts(bench)
    if (bench.kind, bench.ids) == ("oci", "single"):
        assert "cannot become 7:7 in a namespace of one id" in bench.sh(":", uid=7, gid=7).error
        return
    done = bench.sh("echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin", uid=7, gid=7)
    assert (done.status, done.out, done.err) == (0, "out\n", "err\n")


def test_host_name_is_the_step_s(bench: Bench) -> None:
    need_admin(bench)
    before = os.uname().nodename
    assert bench.sh("hostname", hostname="here").out == "here\n"
    assert os.uname().nodename == before


def test_shared_memory_has_its_size(bench: Bench) -> None:
    need_admin(bench)
    done = bench.sh("stat -f -c '%b %S' /dev/shm; echo x > /dev/shm/x", shm_size_bytes=1 << 24)
    blocks, size_bytes = map(int, done.out.split())
    assert (blocks * size_bytes, done.status) == (1 << 24, 0)


def test_limits_are_set(bench: Bench) -> None:
    assert bench.sh("ulimit -Sn; ulimit -Hn", ulimits=[("nofile", 100, 200)]).out == "100\n200\n"


# --- what is left ------------------------------------------------------------------------------


def test_memory_that_ends_ends_the_step_and_not_the_builder(bench: Bench) -> None:
    done = bench.sh("sleep 60 & cat /proc/$!/oom_score_adj; kill $!")
    assert done.out == "1000\n", done


def test_hosts_and_name_servers_are_seen_and_leave_nothing(bench: Bench) -> None:
    done = bench.sh("cat /etc/hosts; test -s /etc/resolv.conf && echo yes", hosts=[("far", "10.0.0.1")])
    assert "127.0.0.1\tlocalhost buildkitsandbox\n" in done.out
    assert "10.0.0.1\tfar\nyes\n" in done.out
    assert bench.files() == ["dev", "proc", "sys", "tmp"]


def test_hosts_file_of_the_image_is_as_it_was(bench: Bench) -> None:
    (bench.root / "etc").mkdir()
    (bench.root / "etc" / "hosts").write_text("mine\n")
    (bench.root / "etc" / "resolv.conf").touch()
    os.utime(bench.root / "etc", ns=(5_000_000_000, 6_000_000_000))
    assert "mine" not in bench.sh("cat /etc/hosts").out
    assert (bench.root / "etc" / "hosts").read_text() == "mine\n"
    assert (bench.root / "etc").stat().st_mtime_ns == 6_000_000_000
    assert sorted(os.listdir(bench.root / "etc")) == ["hosts", "resolv.conf"]


def test_a_place_that_is_made_moves_the_time_of_the_folder_that_it_is_made_in(bench: Bench) -> None:
    for name in ("etc", "d"):
        (bench.root / name).mkdir()
        os.utime(bench.root / name, ns=(5_000_000_000, 6_000_000_000))
    began = time.time_ns()
    bench.sh("sleep 0.2; date +%s%N > /end", mounts=[file("/d/made/f", b"x")])
    for name in ("etc", "d"):
        made = (bench.root / name).stat().st_mtime_ns
        assert os.listdir(bench.root / name) == []
        assert began - 10**8 < made < began + 10**11, name  # a tick of the clock before, at most


def test_dangling_link_of_resolv_conf_is_followed_inside_and_leaves_nothing(bench: Bench) -> None:
    (bench.root / "etc").mkdir()
    (bench.root / "etc" / "resolv.conf").symlink_to("../run/systemd/stub.conf")
    assert bench.sh("cat /etc/resolv.conf").status == 0
    assert not (bench.root / "run").exists()
    assert (bench.root / "etc" / "resolv.conf").is_symlink()


def test_folder_made_for_a_mount_stays_if_the_step_used_it(bench: Bench) -> None:
    done = bench.sh("touch /run/mine", mounts=[file("/run/secrets/s", b"x")])
    assert done.error == ""
    assert [f for f in bench.files() if f.startswith("run")] == ["run", "run/mine"]


def test_place_of_a_mount_is_not_taken_away_through_a_planted_link(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "secrets").mkdir(parents=True)
    bench.sh(
        f"mkdir /keep; mv /run /keep/run && ln -s {outside} /run; :", mounts=[file("/run/secrets/s", b"x")]
    )
    assert (outside / "secrets").is_dir()


def test_mounts_are_not_put_back_through_a_planted_link(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "in").mkdir(parents=True)
    (outside / "in" / "f").write_text("the machine's")
    (bench.root / "d" / "in").mkdir(parents=True)
    (bench.root / "d" / "in" / "f").write_text("the image's")
    mounts = [file("/d/in/f", b"x"), {"kind": "tmpfs", "target": "/d/t"}, file("/d/made", b"x")]
    bench.sh(f"mv /d /elsewhere && ln -s {outside} /d; :", mounts=mounts)
    assert [str(p.relative_to(outside)) for p in sorted(outside.rglob("*"))] == ["in", "in/f"]
    assert (outside / "in" / "f").read_text() == "the machine's"
    at = bench.root / ("elsewhere" if (bench.root / "elsewhere").exists() else "d")
    assert (at / "in" / "f").read_text() == "the image's"


@pytest.mark.parametrize("ours", [True, False])
def test_bound_folder_is_not_replaced_by_a_link(bench: Bench, tmp_path: Path, ours: bool) -> None:
    (tmp_path / "src").mkdir()
    bench.sh("rm -rf /d; ln -s / /d; :", mounts=[bind(tmp_path / "src", "/d", ours=ours)])
    assert not (tmp_path / "src").is_symlink()
    assert (tmp_path / "src").is_dir()
    assert bench.sh("ls /d", mounts=[bind(tmp_path / "src", "/d", ours=ours)]).out == ""


def test_step_may_take_the_folder_of_a_mount_away(bench: Bench) -> None:
    (bench.root / "etc").mkdir()
    (bench.root / "etc" / "hosts").write_text("mine\n")
    assert bench.sh("rm -rf /etc; :").error == ""
    assert bench.sh("echo on").out == "on\n"


# --- mounts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [True, False])
def test_bind_shows_a_folder_and_hides_what_is_there(bench: Bench, tmp_path: Path, ours: bool) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "f").write_text("hello")
    (bench.root / "d").mkdir()
    (bench.root / "d" / "own").write_text("own")
    done = bench.sh("ls /d; cat /d/f; echo new > /d/g", mounts=[bind(tmp_path / "src", "/d", ours=ours)])
    assert done.out == "f\nhello"
    assert os.listdir(bench.root / "d") == ["own"]
    assert (tmp_path / "src" / "g").read_text() == "new\n"


def test_folder_of_the_machine_stays_where_it_is(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "f").write_text("hello")
    bench.driver.send(bench.root, {
        "argv": ["/bin/sh", "-c", "cat /d/f; until test -e /go; do sleep 0.01; done"],
        "env": [["PATH", "/bin"]], "mounts": [bind(tmp_path / "src", "/d")], "timeout_s": 10, "tell": True,
    })  # fmt: skip
    assert bench.driver.read() == {"seen": True}
    assert (tmp_path / "src" / "f").read_text() == "hello"
    (bench.root / "go").touch()
    assert bench.driver.read()["status"] == 0


@pytest.mark.parametrize(
    "script",
    ["touch /d/g", "rm /d/f", "chmod 600 /d/f", "echo >> /d/in/f", "touch -d @1 /d/f", "mv /d/f /d/g"],
)
def test_read_only_bind_refuses_writes(bench: Bench, tmp_path: Path, script: str) -> None:
    (tmp_path / "src" / "in").mkdir(parents=True)
    for name in ("f", "in/f"):
        (tmp_path / "src" / name).write_text("x")
    done = bench.sh(script, mounts=[bind(tmp_path / "src", "/d", readonly=True, ours=True)])
    assert "read-only file system" in (done.err + done.error).lower()
    assert done.status != 0


def test_read_only_bind_may_be_read_and_hold_other_mounts(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "src" / "in").mkdir(parents=True)
    (tmp_path / "src" / "f").write_text("x")
    mounts = [
        bind(tmp_path / "src", "/d", readonly=True, ours=True), {"kind": "tmpfs", "target": "/d/in"},
    ]  # fmt: skip
    done = bench.sh("cat /d/f; ls /d >/dev/null; touch /d/in/new /other", mounts=mounts)
    assert (done.status, done.out, done.error) == (0, "x", "")


def test_tmpfs_holds_no_more_than_its_size(bench: Bench) -> None:
    def fill(size: int) -> Done:
        mounts = [{"kind": "tmpfs", "target": "/t", "size_bytes": 1 << 16}]
        return bench.sh(f"head -c {size} /dev/zero > /t/f || echo no space left", mounts=mounts)

    assert fill(20_000) == Done(0, "", "", "", "")
    done = fill(200_000)
    assert "no space left" in done.out + done.error


def test_file_of_bytes_has_its_mode_and_is_nowhere_else(bench: Bench, tmp_path: Path) -> None:
    done = bench.sh("cat /s; stat -c ' %a %u %s' /s", mounts=[file("/s", b"classified", mode=0o440)])
    assert done.out == "classified 440 0 10\n"
    assert "classified" not in done.error
    assert not (bench.root / "s").exists()
    found = subprocess.run(
        ["grep", "-rl", "classified", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert found.stdout == ""


def test_secret_is_whole_for_every_reader(bench: Bench) -> None:
    """Many at once, one after the other, and who keeps it open meanwhile; its size is always seen."""
    if bench.ids == "single" and bench.kind != "native":
        pytest.skip("one id only")
    data = b"classified\n" * 1000
    readers = "for i in 1 2 3 4 5 6 7 8; do grep -c classified /s & done; wait"
    text = f"test -s /s && {readers}; exec 5</s; {readers}; sleep 0.1; grep -c classified <&5; exec 5<&-"
    text += "; sleep 0.1; grep -c classified /s; stat -c '%a %u %s' /s"
    for uid in (0, 7):
        done = bench.sh(text, mounts=[file("/s", data, uid=uid, secret=True)], uid=uid)
        expected = "1000\n" * 18 + f"400 {uid} 11000\n"
        assert (done.out, done.err, done.error) == (expected, "", "")
        assert not (bench.root / "s").exists()


def test_secret_that_was_sent_on_is_whole_after_its_file_was_closed(bench: Bench) -> None:
    """busybox splices the file's own pages into a pipe; a step's last output is read after its end, too."""
    text = "cat /s | (sleep 0.2; grep -c classified); cat /s"
    done = bench.sh(text, mounts=[file("/s", b"classified\n" * 1000, secret=True)])
    assert (done.out, done.error) == ("1000\n" + "classified\n" * 1000, "")


def test_tmpfs_is_empty_and_forgotten(bench: Bench) -> None:
    (bench.root / "t").mkdir()
    (bench.root / "t" / "own").write_text("own")
    mounts = [{"kind": "tmpfs", "target": "/t"}, {"kind": "tmpfs", "target": "/u"}]
    done = bench.sh("ls -A /t; touch /t/x; stat -c %a /u", mounts=mounts)
    assert done.out == "1777\n"
    assert os.listdir(bench.root / "t") == ["own"]
    assert not (bench.root / "u").exists()


def test_mounts_lie_inside_each_other(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "f").write_text("x")
    mounts = [{"kind": "tmpfs", "target": "/t"}, bind(tmp_path / "src", "/t/in/a"), file("/t/in/b", b"b")]
    done = bench.sh("find /t | sort", mounts=mounts)
    assert done.out.split() == ["/t", "/t/in", "/t/in/a", "/t/in/a/f", "/t/in/b"]
    assert not (bench.root / "t").exists()
    assert os.listdir(tmp_path / "src") == ["f"]


def test_link_in_a_target_leads_nowhere_outside(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "f").write_text("x")
    (bench.root / "up").symlink_to("../" * 12 + "real")
    (bench.root / "abs").symlink_to("/real")
    mounts = [bind(tmp_path / "src", "/abs/m"), file("/up/n", b"n")]
    assert bench.sh("ls /real /real/m", mounts=mounts).out.split() == ["/real:", "m", "n", "/real/m:", "f"]
    assert not Path("/real").exists()
    assert not (bench.root / "real").exists()


# --- nothing gets out, nothing is left ---------------------------------------------------------


def test_what_a_step_leaves_running_is_gone_when_it_ends(bench: Bench, nap: str) -> None:
    done = bench.sh(
        f"(sleep {nap} &); setsid sh -c 'setsid sleep {nap} >/dev/null 2>&1 </dev/null &' ; echo end"
    )
    assert (done.status, done.out) == (0, "end\n")
    assert running(nap) == []


def test_cancelled_step_ends_with_all_its_processes(bench: Bench, nap: str) -> None:
    done = bench.sh(f"trap '' TERM; sleep {nap} & sleep {nap}", cancel_after_s=0.0)
    assert (done.status, done.code) == (None, "cancelled")
    assert running(nap) == []


def test_step_has_a_time_limit(bench: Bench, nap: str) -> None:
    done = bench.sh(f"sleep {nap}", timeout_s=0.2)
    assert (done.code, done.error) == ("sandbox", "the step took longer than 0.2 s and was stopped")
    assert running(nap) == []


def test_next_step_works_after_one_that_was_stopped(bench: Bench) -> None:
    bench.sh("sleep 30", cancel_after_s=0.0)
    assert bench.sh("echo on").out == "on\n"


def test_capabilities_are_docker_s_fourteen(bench: Bench) -> None:
    need_mounts(bench)
    done = bench.sh("grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status", network="none")
    masks = dict(line.split(":\t") for line in done.out.splitlines())
    full, none = "00000000a80425fb", "0" * 16
    assert masks == {"CapInh": none, "CapPrm": full, "CapEff": full, "CapBnd": full, "CapAmb": none}


@pytest.mark.parametrize("network", ["default", "host"])
def test_root_s_steps_do_not_listen_to_the_machine_s_network(bench: Bench, network: str) -> None:
    need_root()  # the network of others belongs to another user namespace
    done = bench.sh("grep -E '^Cap(Prm|Eff|Bnd)' /proc/self/status", network=network)
    behind = 1 << 18 | 1 << 27 if bench.kind == "chroot" else 0
    assert {int(line.split(":\t")[1], 16) for line in done.out.splitlines()} == {0xA80405FB & ~behind}


def test_docker_s_filter_is_in_force(bench: Bench) -> None:
    done = bench.sh("grep '^Seccomp:' /proc/self/status; unshare -i true; mount -t tmpfs x /tmp")
    assert done.out == "Seccomp:\t2\n"
    assert "Operation not permitted" in done.err


def test_root_cannot_be_left_by_a_second_chroot(bench: Bench) -> None:
    (bench.root / "w").mkdir()
    ups = "../" * 20
    done = bench.sh(f"chroot /w /bin/sh -c : 2>/dev/null; cd {ups}; ls -d work home usr 2>/dev/null; pwd")
    assert done.out == "/\n"
    if bench.kind == "chroot":
        assert "Operation not permitted" in bench.sh("chroot / /bin/sh -c :").err


def test_disk_of_the_machine_does_not_open(bench: Bench) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made = "mknod /disk b 254 0 2>/dev/null || mknod /tmp/disk b 254 0 2>/dev/null; "
    done = bench.sh(
        made + "cat /disk /tmp/disk 2>/dev/null | wc -c; mknod /dev/d b 254 0 && cat /dev/d | wc -c"
    )
    assert set(done.out.split()) <= {"0"}


def test_usual_devices_work(bench: Bench) -> None:
    done = bench.sh("echo x > /dev/null && head -c 4 /dev/zero | wc -c; ls /dev/full /dev/urandom")
    if bench.kind == "chroot" and done.status:
        pytest.skip("device nodes cannot be made here")
    assert done.out == "4\n/dev/full\n/dev/urandom\n"


def test_kernel_s_settings_cannot_be_written(bench: Bench) -> None:
    need_mounts(bench)
    done = bench.sh(
        "(echo x > /proc/sys/kernel/hostname) 2>&1; (echo x > /sys/kernel/x) 2>&1; cat /proc/keys"
    )
    assert done.out.count("Read-only") + done.out.count("ermission denied") == 2
    assert done.out.count("\n") == 2


def test_network_none_has_the_loopback_only(bench: Bench) -> None:
    need_mounts(bench)
    done = bench.sh("grep -c : /proc/net/dev; grep -o lo: /proc/net/dev", network="none")
    assert done.out == "1\nlo:\n"


def test_sys_has_the_interfaces_of_the_step_s_network(bench: Bench) -> None:
    need_admin(bench)
    if bench.kind == "oci" and bench.ids != "root":
        pytest.skip("a runtime that a user starts shows the machine's /sys")
    assert bench.sh("ls /sys/class/net", network="none").out == "lo\n"


@pytest.mark.parametrize("kind", ["native", "chroot", "oci"])
def test_nothing_outlives_a_builder_that_was_killed(
    kind: str, drivers: dict[str, Driver], base: Path, tmp_path: Path, nap: str
) -> None:
    make_bench(kind, drivers, base, tmp_path / "root")
    driver = Driver(kind)
    text = f"echo up; (setsid sleep {nap} >/dev/null 2>&1 &); sleep {nap}"
    driver.send(tmp_path / "root", {"argv": ["/bin/sh", "-c", text], "env": [["PATH", "/bin"]], "tell": True})
    assert driver.read() == {"seen": True}
    wait_until(lambda: len(running(nap)) == 2)  # killed before, it would be a step that never slept
    driver.process.send_signal(signal.SIGKILL)
    driver.process.wait()
    wait_until(lambda: not running(nap))


def wait_until(reached: Callable[[], bool]) -> None:
    """Wait for what takes milliseconds, however long it is on a busy machine."""
    while not reached():
        time.sleep(0.01)


def running(word: str) -> list[int]:
    """The processes that have a word among their arguments."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(int(pid))
        except OSError:
            continue
    return found


def test_mode_of_the_root_is_kept(bench: Bench) -> None:
    before = stat.S_IMODE(bench.root.stat().st_mode)
    bench.sh(":")
    assert stat.S_IMODE(bench.root.stat().st_mode) == before


def test_cgroup_limits_hold_and_the_group_goes(bench: Bench) -> None:
    if bench.ids != "root" or bench.kind == "oci":
        pytest.skip("cgroups cannot be written by this user, or are the runtime's")
    done = bench.sh(
        "read x < /proc/self/cgroup; grep -c imagesmith- /proc/self/cgroup",
        limits={"memory_bytes": 64 << 20, "quota_us": 50_000}, cgroup_parent="imagesmith-tests",
    )  # fmt: skip
    if bench.kind == "native":
        assert done.error == ""
        assert int(done.out) >= 1
    left = [p for p in Path("/sys/fs/cgroup").rglob("imagesmith-tests/*") if p.is_dir()]
    assert left == []


#: A shell that holds so many bytes, and what it shares with the ones that it starts only once.
_HOLD = "x=$(head -c {} /dev/zero | tr '\\0' x); for n in 1 2 3; do (sleep {}) & done; wait; echo held"


def test_a_step_that_holds_more_memory_than_it_may_ends(bench: Bench) -> None:
    done = bench.sh(_HOLD.format(64 << 20, 5), limits={"memory_bytes": 32 << 20, "swap_bytes": 32 << 20})
    assert (done.error, "held" in done.out) == ("", False)
    assert done.status not in (0, None)
    if bench.ids != "root" or bench.kind != "oci":
        assert "killed for want of memory: the limit of 32 MiB of the step was reached" in done.err


def test_a_step_that_goes_on_says_what_it_lost(bench: Bench) -> None:
    done = bench.sh(
        f"({_HOLD.format(64 << 20, 5)}); echo went on",
        limits={"memory_bytes": 32 << 20, "swap_bytes": 32 << 20},
    )
    if bench.ids == "root" and bench.kind == "native" and "no cgroup" not in done.err:
        assert (done.status, done.out) == (0, "went on\n")
        assert "killed for want of memory: the limit of 32 MiB of the step was reached" in done.err


def test_a_step_within_its_memory_does_not(bench: Bench) -> None:
    done = bench.sh(_HOLD.format(10 << 20, 0.3), limits={"memory_bytes": 60 << 20})
    assert (done.status, done.out, done.error) == (0, "held\n", "")


def test_memory_counts_what_lies_in_a_file_system_in_memory(bench: Bench) -> None:
    if bench.kind == "chroot":
        pytest.skip("a chroot cannot hold it; the documentation says so")
    done = bench.sh(
        "head -c 50000000 /dev/zero > /dev/shm/x; sleep 2; echo held",
        limits={"memory_bytes": 32 << 20, "swap_bytes": 32 << 20},
    )
    assert done.out == ""
    assert done.status != 0


@pytest.mark.parametrize("limits", [{"cpus": "{}"}, {"quota_us": 100_000}], ids=["cpuset", "quota"])
def test_processors_are_limited(bench: Bench, limits: dict[str, object]) -> None:
    one = str(max(os.sched_getaffinity(0)))
    asked = {key: value.format(one) if isinstance(value, str) else value for key, value in limits.items()}
    done = bench.sh("grep Cpus_allowed_list /proc/self/status", limits=asked)
    assert done.error == ""
    seen = done.out.split()[1]
    if "cpus" in limits:
        assert seen == one
    elif "no cgroup can be made" in done.err:
        assert seen.isdigit()


def test_what_no_machine_holds_is_refused(bench: Bench) -> None:
    assert "may use the processors" in bench.sh("true", limits={"cpus": "900"}).error
    assert "memory nodes" in bench.sh("true", limits={"nodes": "77"}).error
    if bench.ids != "root":
        assert "cpu-shares=9 cannot be held here" in bench.sh("true", limits={"shares": 9}).error
