#!/usr/bin/python3
"""Runs of micro-guests through the whole program: results, signals, dead processes, slow and gone readers."""
import glob
import json
import os
import pty
import signal
import socket
import stat
import struct
import subprocess
import time

import e2e
from e2e import MIB, need, need_error

PASSED, FAILED_7, USAGE, TIMEOUT, INFRA, SKIP = 0, 7, 64, 113, 115, 116


def send(box, *options, **kwargs):
    """Arguments of a run whose last act is a result of 1 MiB, then exit status 7."""
    return ['run', '--kernel', e2e.guest('console'), '--memory', '32', '--initrd',
            box.file('frames', e2e.frames(**kwargs)), '--append', 'send irq event_idx'] + list(options)


def wait_for_ever(*options):
    """Arguments of a run that waits for bytes on port 2, which never come."""
    return ['run', '--kernel', e2e.guest('console'), '--memory', '16', '--append', 'relay irq'] + list(options)


def flood(box, data, times=None, *options):
    """Arguments of a run that sends @data on port 1, @times or for ever."""
    word = 'flood' if times is None else 'flood={}'.format(times)
    return ['run', '--kernel', e2e.guest('console'), '--memory', '32', '--initrd', box.file('flood', data),
            '--append', word + ' irq event_idx'] + list(options)


def document(box, name='result.json'):
    with open(box.file(name), encoding='utf-8') as f:
        return json.load(f)


def children_only(box, child):
    return [pid for pid in box.processes() if pid != child.pid]


def started(box, args, **more):
    """A run whose VM process exists and is past its start."""
    child = box.start(args, **more)
    pid = box.vm_process()
    time.sleep(0.3)
    need(child.poll() is None, 'ended early: ' + str(child.poll()))
    return child, pid


# Results.

def test_hello_passes(box):
    result = box.run('run', '--kernel', e2e.guest('hello'), '--memory', '16')
    need(result.status == PASSED and not result.err, result.text())
    box.need_clean()


def check_send(box, result, notes=0):
    need(result.status == FAILED_7 and result.out == b'output\n', result.text())
    need(result.err.count(b'\n') == notes, result.text())
    need(document(box)['result_bytes'] == MIB, 'result_bytes: {}'.format(document(box)['result_bytes']))
    box.need_clean()


def test_last_result_of_a_mib_arrives_on_both_reactors(box):
    for reactor in ('uring', 'epoll'):
        result = box.run(*send(box, '--json', box.file('result.json')), env=box.env(KTSTR_REACTOR=reactor))
        if reactor == 'uring' and b'io_uring' in result.err:
            raise e2e.Skip('no io_uring: ' + result.err.decode())
        check_send(box, result)


def no_uring():
    return [os.path.join(e2e.BUILD, 'tests/e2e/no_uring')]


def test_refused_io_uring_falls_back_with_one_line(box):
    result = box.run(*send(box, '--json', box.file('result.json')), wrapper=no_uring())
    check_send(box, result, notes=1)
    need(b'io_uring' in result.err and b'epoll' in result.err, result.text())


def test_refused_io_uring_that_was_forced_is_an_error(box):
    result = box.run(*send(box), wrapper=no_uring(), env=box.env(KTSTR_REACTOR='uring'))
    need_error(result, INFRA, 'io_uring')
    box.need_clean()


def test_json_to_a_device_or_pipe_is_written_in_place(box):
    result = box.run(*send(box, '--json', '/dev/null'))
    need(result.status == FAILED_7 and stat.S_ISCHR(os.stat('/dev/null').st_mode), result.text())
    read, write = os.pipe()
    result = box.run(*send(box, '--json', '/dev/fd/{}'.format(write)), pass_fds=[write])
    os.close(write)
    with os.fdopen(read, 'rb') as f:
        need(json.load(f)['exit_status'] == 7, result.text())
    result = box.run(*send(box, '--json', '-'))
    need(json.loads(result.out[len(b'output\n'):])['exit_status'] == 7, result.text())


def test_kernel_log_that_cannot_be_kept_is_told(box):
    log = e2e.frame(19, 0, b'[    0.000000] a line\n' * 1000)
    if not os.path.exists('/dev/full'):
        raise e2e.Skip('no /dev/full')
    result = box.run(*flood(box, log, 1, '--dmesg', '/dev/full'))
    need(b"'/dev/full' lacks 22000 bytes: No space left on device" in result.err, result.text())


def test_timeline_and_keep_tell_where(box):
    result = box.run(*send(box, '--timeline', '--keep'))
    need(b'timeline' in result.err and b'artefacts are in ' in result.err, result.text())
    folder = result.err.decode().split('artefacts are in ')[1].split('\n')[0]
    need(os.path.getsize(os.path.join(folder, 'frames.bin')) == MIB + 32, str(os.listdir(folder)))


# What a host or a number does not allow.

def test_stock_kernel_on_an_incomplete_kvm_is_explained_at_once(box):
    if box.run('doctor', '--quiet').status == 0:
        raise e2e.Skip('the KVM of this host is complete')
    for _ in range(2):  # probed, then from the cache
        result = box.run('run', '--kernel', box.file('vmlinux', e2e.elf()), '--', 'true')
        need_error(result, SKIP, 'cannot run an unmodified Linux kernel', 'ktstr doctor', '--force', within_s=1)
        box.need_clean()


def test_doctor_is_one_document_and_agrees_with_its_text(box):
    result = box.run('doctor', '--json')
    need(result.status in (PASSED, SKIP) and not result.err, result.text())
    doctor = json.loads(result.out)
    need(doctor['can_run_linux'] == (result.status == PASSED), result.text())
    for key in ('kvm', 'kvm_kernel_mips', 'kvm_exit_us', 'kvm_ioeventfd_us', 'kvm_timer', 'kvm_syscall', 'reactor',
                'hugepages_free_2m', 'rtprio', 'memlock', 'cgroup_cpuset', 'confinement', 'kernels', 'linux'):
        need(doctor['checks'][key]['level'] in ('ok', 'warn', 'bad', 'info'), key)
    for key in ('kvm_exit_us', 'kvm_ioeventfd_us'):  # differences of two times: on a loaded host, whatever
        need(isinstance(doctor['checks'][key]['value'], (int, float)), result.text())
    text = box.run('doctor', env=box.env(KTSTR_REACTOR='epoll'))
    need(text.status == result.status and b'event loop: epoll (forced by KTSTR_REACTOR)' in text.out, text.text())
    text = box.run('doctor', wrapper=no_uring())
    need(b'event loop: epoll (io_uring' in text.out, text.text())


def test_memory_too_small_for_an_initrd(box):
    result = box.run('run', '--kernel', e2e.guest('console'), '--memory', '2', '--initrd',
                     box.file('big', bytes(4 * MIB)))
    need_error(result, USAGE, 'memory of 2 MiB is too small', '4096 KiB', 'give at least')
    box.need_clean()


def test_initrd_of_whole_pages_ends_with_ram(box):
    for size in (8192, 8191):
        console = box.run('run', '--kernel', e2e.guest('hello'), '--memory', '16', '--initrd',
                          box.file('whole', bytes(size)))
        need(console.status == PASSED, console.text())
    box.need_clean()


def test_huge_topologies_are_refused(box):
    for topology in ('1,1,4096,1', '64,4096,1,1', '1,1,2048,2'):
        result = box.run('run', '--kernel', e2e.guest('hello'), '--memory', '16', '--topology', topology)
        need(result.status in (USAGE, SKIP) and result.err.count(b'\n') == 1, topology + ': ' + result.text())
        box.need_clean()


def test_few_descriptors_are_a_lack_of_host_resources(box):
    e2e.need_program('prlimit')
    for limit in (8, 12, 16, 20):
        result = box.run('run', '--kernel', e2e.guest('hello'), '--memory', '16', '--topology', '1,1,8,1',
                         wrapper=['prlimit', '--nofile={0}:{0}'.format(limit)])
        need(result.status == INFRA and b'Too many open files' in result.err, str(limit) + ': ' + result.text())
        need(result.err.count(b'\n') == 1, result.text())
        box.need_clean()


def test_few_descriptors_hang_no_reactor(box):
    """An event source that cannot be armed must end the run, whichever it is."""
    e2e.need_program('prlimit')
    for reactor in ('uring', 'epoll'):
        for limit in range(4, 20):
            result = box.run('run', '--kernel', e2e.guest('ends'), '--memory', '16', '--timeout', '5',
                             wrapper=['prlimit', '--nofile={0}:{0}'.format(limit)], env=box.env(KTSTR_REACTOR=reactor))
            need(result.status != PASSED and result.status is not None, str(limit) + ': ' + result.text())
            box.need_clean()


def test_time_limit_ends_a_run(box):
    result = box.run(*wait_for_ever('--timeout', '1'))
    need(result.status == TIMEOUT and b'TIMEOUT' in result.err, result.text())
    need(b'note: vCPU 0: rip=' in result.err, 'where the guest was is not told: ' + result.text())
    box.need_clean()


# Processes that die.

def test_killed_vm_process_is_named(box):
    for sig, name in ((signal.SIGKILL, b'KILL'), (signal.SIGABRT, b'ABRT')):
        child, pid = started(box, wait_for_ever())
        os.kill(pid, sig)
        result = box.finish(child)
        need(result.status == INFRA, result.text())
        last = result.err.splitlines()[-1]  # before it, what the console said
        need(b'INFRA: the VM process was ended by signal' in last and name in last, result.text())
        box.need_clean()


def test_vm_process_that_its_filter_ended_is_told_from_a_killed_one(box):
    child, pid = started(box, wait_for_ever())
    os.kill(pid, signal.SIGSYS)
    result = box.finish(child)
    last = result.err.splitlines()[-1]
    need(result.status == INFRA and b'INFRA: the VM process was ended by its filter of system calls' in last, result.text())
    box.need_clean()


def rights_of_threads(pid):
    """Filter, no_new_privs and capabilities of each thread, which are its own."""
    rights = []
    for name in glob.glob('/proc/{}/task/*/status'.format(pid)):
        with open(name, encoding='ascii') as f:
            s = dict(line.split(':', 1) for line in f)
        rights.append((int(s['Seccomp']), int(s['NoNewPrivs']), int(s['CapEff'], 16), int(s['CapPrm'], 16)))
    return rights


def test_vm_process_has_no_rights(box):
    child, pid = started(box, wait_for_ever())
    if 'sanitizer' not in box.run('doctor').out.decode():
        end = time.monotonic() + 10 * e2e.SLOW
        while not all(rights == (2, 1, 0, 0) for rights in rights_of_threads(pid)) or len(rights_of_threads(pid)) < 2:
            need(time.monotonic() < end, str(rights_of_threads(pid)))
            time.sleep(0.02)
    child.kill()
    child.communicate()


def test_killed_runner_takes_its_vm_along(box):
    child, _pid = started(box, wait_for_ever())
    child.kill()
    child.communicate()
    box.need_clean()


def test_signals_end_a_run(box):
    for sig, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        child, _pid = started(box, wait_for_ever())
        began = time.monotonic()
        child.send_signal(sig)
        result = box.finish(child)
        need(result.status == status and b'interrupted by SIG' in result.err, result.text())
        need(time.monotonic() - began < 1 * e2e.SLOW, result.text())
        need(result.err.count(b'\n') == 1, result.text())
        box.need_clean()


def test_second_signal_does_not_wait_for_a_stuck_vm_process(box):
    child, pid = started(box, wait_for_ever())
    os.kill(pid, signal.SIGSTOP)
    child.send_signal(signal.SIGINT)
    time.sleep(0.3)
    need(child.poll() is None, 'one signal asks, it does not kill')
    child.send_signal(signal.SIGINT)
    began = time.monotonic()
    result = box.finish(child)
    need(result.status == 130 and time.monotonic() - began < 1 * e2e.SLOW, result.text())
    box.need_clean()


def test_one_signal_kills_a_stuck_vm_process_after_its_grace(box):
    child, pid = started(box, wait_for_ever())
    os.kill(pid, signal.SIGSTOP)
    child.send_signal(signal.SIGINT)
    result = box.finish(child)
    need(result.status == 130, result.text())
    box.need_clean()


# Streams.

STDOUT_BLOCK = e2e.frame(e2e.FRAME_STDOUT, 0, b'0123456789abcdef' * 4096)


def test_reader_that_goes_ends_the_run(box):
    child = box.start(flood(box, STDOUT_BLOCK))
    need(child.stdout.read(1) == b'0', 'no output')
    child.stdout.close()
    child.stdout = None
    result = box.finish(child)
    need(result.status == 128 + signal.SIGPIPE, result.text())
    box.need_clean()


def test_slow_reader_gets_every_byte(box):
    n = 64 * 65536
    child = box.start(flood(box, STDOUT_BLOCK, 64))
    time.sleep(1)
    got = b''
    while len(got) < n:
        data = child.stdout.read1(40000)
        need(data, 'output ended after {} bytes'.format(len(got)))
        got += data
        if len(got) < n // 4:
            time.sleep(0.02)
    need(got == b'0123456789abcdef' * (n // 16), 'wrong bytes')
    result = box.finish(child)
    need(result.status == PASSED, result.text())
    box.need_clean()


def test_signal_ends_a_run_whose_reader_is_stuck(box):
    child = box.start(flood(box, STDOUT_BLOCK))
    need(child.stdout.read(1) == b'0', 'no output')
    time.sleep(0.5)
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    status = child.wait(20 * e2e.SLOW)
    need(status == 130 and time.monotonic() - began < 1 * e2e.SLOW, 'status {}'.format(status))
    child.communicate()
    box.need_clean()


def test_closed_standard_streams_are_no_trap(box):
    shell = '"$@" >&- 2>&- <&-'
    result = box.run(*send(box, '--json', box.file('result.json')), wrapper=['sh', '-c', shell, 'sh'])
    check_send_quietly(box, result)


def check_send_quietly(box, result):
    need(result.status == FAILED_7 and not result.out and not result.err, result.text())
    need(document(box)['result_bytes'] == MIB, result.text())
    box.need_clean()


def test_end_of_output_does_not_wait_for_the_teardown(box):
    """Whoever reads to the end of the output sees it when the runner has ended, not when the VM process has."""
    child = box.start(send(box), stderr=subprocess.DEVNULL)
    need(child.stdout.read() == b'output\n', 'wrong output')
    need(child.wait(20) == FAILED_7, 'wrong status')
    box.need_clean()


def test_input_that_nobody_reads_keeps_no_process(box):
    for args, status in ((['run', '--kernel', e2e.guest('hello'), '--memory', '16'], PASSED),
                         (wait_for_ever('--timeout', '1'), TIMEOUT)):
        with subprocess.Popen(['yes'], stdout=subprocess.PIPE) as yes:
            result = box.run(*args, '--stdin', stdin=yes.stdout)
            yes.stdout.close()
        need(result.status == status, result.text())
        box.need_clean()


def test_input_from_a_file_and_from_nothing(box):
    for path in (box.file('input', b'x' * MIB), '/dev/null'):
        with open(path, 'rb') as f:
            result = box.run(*send(box, '--stdin', '--json', box.file('result.json')), stdin=f)
        check_send(box, result)


def test_resized_terminal_during_output_loses_nothing(box):
    """The window changes while the reader is slow: an old trap, every signal once ended the output."""
    n = 32 * 65536
    child = box.start(flood(box, STDOUT_BLOCK, 32))
    got = child.stdout.read(1)
    for _ in range(5):
        time.sleep(0.1)
        child.send_signal(signal.SIGWINCH)
    while len(got) < n:
        data = child.stdout.read1(65536)
        need(data, 'output ended after {} of {} bytes'.format(len(got), n))
        got += data
    result = box.finish(child)
    need(result.status == PASSED, result.text())


# The relay and the terminal.

def connect(path, limit=10):
    end = time.monotonic() + limit * e2e.SLOW
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(limit * e2e.SLOW)
        try:
            client.connect(path)
            return client
        except OSError:
            client.close()
            need(time.monotonic() < end, 'cannot connect to ' + path)
            time.sleep(0.02)


def read_exactly(client, n):
    got = b''
    while len(got) < n:
        data = client.recv(n - len(got))
        need(data, 'the relay hung up after {} of {} bytes'.format(len(got), n))
        got += data
    return got


def test_relay_carries_bytes_both_ways_for_client_after_client(box):
    path = box.file('relay.sock')
    child = box.start(relay_args(path))
    for round_number in range(3):
        data = os.urandom(50000).replace(b'\x04', b'\x05')
        with connect(path) as client:
            client.sendall(data)
            need(read_exactly(client, len(data)) == data, 'round {}'.format(round_number))
    data = b'half an end' * 1000
    with connect(path) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        need(read_exactly(client, len(data)) == data, 'after a half-close')
    with connect(path) as client:
        client.sendall(b'\x04')
        result = box.finish(child)
    need(result.status == PASSED, result.text())
    need(not os.path.exists(path), 'the socket is left')
    box.need_clean()


def relay_args(path):
    return ['run', '--kernel', e2e.guest('console'), '--memory', '16', '--relay', '/run/x.sock:' + path,
            '--append', 'relay irq event_idx']


def test_shell_on_a_terminal_echoes_resizes_and_escapes(box):
    """The console guest's echo on hvc0 through a pseudo terminal; Ctrl-] leaves."""
    leader, follower = pty.openpty()
    before = subprocess.run(['stty', '-g'], stdin=follower, stdout=subprocess.PIPE, check=True).stdout
    child = box.start(['shell', '--kernel', e2e.guest('console'), '--memory', '16', '--append', 'tty irq'],
                      stdin=follower, stdout=follower)
    try:
        box.vm_process()
        time.sleep(0.3)
        os.write(leader, b'echo me')
        need(read_until(leader, b'echo me'), 'no echo')
        child.send_signal(signal.SIGWINCH)
        os.write(leader, b'again')
        need(read_until(leader, b'again'), 'no echo after a resize')
        os.write(leader, b'\x1d')
        result = box.finish(child)
        need(result.status == 0, result.text())
        after = subprocess.run(['stty', '-g'], stdin=follower, stdout=subprocess.PIPE, check=True).stdout
        need(before == after, 'the terminal is not as it was')
    finally:
        os.close(leader)
        os.close(follower)
    box.need_clean()


def read_until(fd, wanted):
    got = b''
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(e2e.Failure('read {!r}'.format(got))))
    signal.alarm(int(10 * e2e.SLOW))
    while wanted not in got:
        got += os.read(fd, 4096)
    signal.alarm(0)
    return True


def test_unknown_and_damaged_frames_are_noted_not_passed_on(box):
    good = e2e.frame(e2e.FRAME_STDOUT, 0, b'good\n')
    forged = e2e.frame(49, 1, struct.pack('<IIIiII', 0, 0, 0, 0, 0, 0))
    result = box.run(*flood(box, b'noise' * 100 + good + forged, 1))
    need(result.status == PASSED and result.out == b'good\n', result.text())
    need(b'500 bytes dropped' in result.err and b'1 frames of unknown or host types' in result.err, result.text())


if __name__ == '__main__':
    e2e.need_kvm()
    e2e.main([case for name, case in list(globals().items()) if name.startswith('test_')])
