#!/usr/bin/python3
"""`ktstr test` with micro-guests: guest_actor plays PID 1 and the test, in every way in which a VM can end."""
import json
import os
import pty
import random
import re
import resource
import select
import signal
import struct
import subprocess
import termios
import time
import fcntl

import e2e
from e2e import need, need_error

OK, FAILED, INCONCLUSIVE, INFRA, NOTHING, USAGE, INTERRUPTED = 0, 1, 2, 3, 4, 64, 130

# Every one that DESIGN.md section 9 knows for a test of a batch.
OUTCOMES = ('PASS', 'FAIL', 'SKIP', 'INCONCLUSIVE', 'PANIC', 'STALL', 'TIMEOUT', 'BOOT', 'INFRA')

# What guest_actor does by the first part of a test's name, and what that is.
ACTS = {
    'pass': 'PASS', 'late_hang': 'PASS', 'com2_pass': 'PASS', 'fill': 'PASS', 'fail': 'FAIL', 'com2_fail': 'FAIL', 'silent': 'FAIL',
    'liar': 'FAIL', 'crash': 'FAIL', 'killed': 'FAIL', 'skip': 'SKIP', 'inconclusive': 'INCONCLUSIVE',
    'panic': 'PANIC', 'late_panic': 'PANIC', 'oops': 'PANIC', 'pid1_killed': 'PANIC', 'vanish': 'PANIC',
    'reset': 'PANIC', 'stall': 'STALL', 'eject': 'STALL', 'hang': 'TIMEOUT', 'idle': 'TIMEOUT', 'early_reset': 'BOOT',
    'early_triple': 'BOOT', 'no_init': 'INFRA',
}
REASONS = {
    'fail': 'a check failed on purpose', 'silent': 'the test gave no result: its program ended with status 0',
    'liar': 'the test said PASS, but its program ended with status 1', 'crash': 'died by signal 11 (SIGSEGV)',
    'killed': 'died by signal 9 (SIGKILL)', 'late_panic': 'not syncing: after the pass',
    'panic': 'not syncing: the actor', 'oops': 'kernel NULL pointer dereference', 'pid1_killed': 'Attempted to kill init',
    'vanish': 'powered off without reporting an exit', 'reset': 'reset itself', 'stall': 'soft lockup',
    'eject': 'BPF scheduler "actor" disabled (runnable task stall)',
    'hang': "last phase reached: command", 'early_triple': 'triple fault', 'no_init': 'mount /proc: on purpose',
    'skip': 'skipped on purpose', 'inconclusive': 'nothing was measured',
}


def program(box, tests, name='program', script=''):
    """A test program for the host's side: names, or (name, declaration) pairs."""
    lines = [json.dumps({'ktstr_list': 1, 'n_tests': len(tests)})]
    for test in tests:
        test, more = test if isinstance(test, tuple) else (test, {})
        lines.append(json.dumps(dict({'name': test, 'memory_mib': 16, 'timeout_s': 30}, **more)))
    text = '#!/bin/sh\n{}cat <<"END"\n{}\nEND\n'.format(script, '\n'.join(lines))
    return box.file(name, text, 0o755)


def batch(*args):
    return ['test', '--kernel', e2e.guest('actor')] + list(args)


def table(result):
    """Outcomes by test, and how often each was tried again, as the lines say it."""
    outcomes, again = {}, {}
    for line in result.out.decode().splitlines():
        match = re.match(r'(\w+) +[0-9.]+ s  ([^ :]+)(?: \(attempt \d+\))?(: .*)?$', line)
        if match and match.group(1) == 'again':
            again[match.group(2)] = again.get(match.group(2), 0) + 1
        elif match:
            need(match.group(2) not in outcomes, 'twice: ' + line)
            outcomes[match.group(2)] = (match.group(1), match.group(3) or '')
    return outcomes, again


def outcomes_of(result):
    return {name: outcome for name, (outcome, _why) in table(result)[0].items()}


def need_table(result, wanted, status):
    got = outcomes_of(result)
    need(got == wanted, 'differs: {}\n{}'.format(
        {k: (wanted.get(k), got.get(k)) for k in set(got) | set(wanted) if wanted.get(k) != got.get(k)}, result.text()))
    need(result.status == status, 'wanted status {}: {}'.format(status, result.text()))


def mixed():
    """64 tests that hold every act."""
    names = ['{}/{}'.format(act, 'one') for act in ACTS]
    names += ['pass/{}'.format(i) for i in range(64 - len(names))]
    return [(name, {'timeout_s': 1 if name.split('/')[0] in ('hang', 'idle', 'late_hang') else 60}) for name in names]


def wanted_of(tests, base='program'):
    return {'{}/{}'.format(base, name): ACTS[name.split('/')[0]] for name, _declaration in tests}


# Outcomes.

def test_mixed_batch_of_64_gives_the_same_table_twice(box):
    tests = mixed()
    path = program(box, tests)
    documents = []
    for _run in range(2):
        result = box.run(*batch('--jobs', '32', '--overcommit', '16', '--json', box.file('json'), '--junit', box.file('xml'),
                                '--tap', box.file('tap'), path), limit=120)
        need_table(result, wanted_of(tests), FAILED)
        outcomes, again = table(result)
        for act, reason in REASONS.items():
            why = outcomes['program/{}/one'.format(act)][1]
            need(reason in why, '{}: {!r} lacks {!r}'.format(act, why, reason))
        need(again == {'program/no_init/one': 2}, str(again))
        box.need_clean()
        with open(box.file('json'), encoding='utf-8') as f:
            documents.append(json.load(f))
        check_documents(box, documents[-1], tests)
    need([(t['id'], t['outcome']) for t in documents[0]['tests']] == [(t['id'], t['outcome']) for t in documents[1]['tests']],
         'two runs, two documents')


def check_documents(box, document, tests):
    wanted = wanted_of(tests)
    need({t['id']: t['outcome'] for t in document['tests']} == wanted, str(document['counts']))
    need(set(wanted.values()) == set(OUTCOMES), 'not every outcome')
    need(document['exit_status'] == FAILED and document['counts']['retried'] == 1, str(document['counts']))
    by_id = {t['id']: t for t in document['tests']}
    need(by_id['program/panic/one']['evidence']['panic'].endswith('Call Trace:\n'), str(by_id['program/panic/one']))
    need(by_id['program/crash/one']['evidence']['exit'] == {'kind': 'signal', 'value': 11}, str(by_id['program/crash/one']))
    hang = by_id['program/hang/one']
    limit = re.search(r"limit: ([0-9.]+) s from frame 'command' on", hang['why']).group(1)
    need(hang['evidence']['deadline_by'] == "frame 'command', for {} s".format(limit), str(hang))
    need(any(n.startswith('vCPU 0: rip=') for n in by_id['program/hang/one']['evidence']['notes']), 'where it hung is not told')
    need(any('did not power off' in n for n in by_id['program/late_hang/one']['evidence']['notes']), 'late_hang')
    need(all(t['resources']['max_rss_kib'] > 1000 for t in document['tests']), 'resources')
    done = subprocess.run(['xmllint', '--noout', '--schema', os.path.join(e2e.ROOT, 'docs/junit.xsd'), box.file('xml')],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    need(done.returncode == 0, done.stdout.decode())
    with open(box.file('tap'), encoding='utf-8') as f:
        need('1..64' in f.read().split('\n'), 'tap')


def test_exit_status_follows_the_worst_outcome(box):
    for acts, status in ((['pass'], OK), (['pass', 'skip'], OK), (['skip'], NOTHING), (['pass', 'inconclusive'], INCONCLUSIVE),
                         (['inconclusive', 'no_init'], INFRA), (['no_init', 'fail'], FAILED), (['pass', 'panic'], FAILED),
                         (['early_reset'], FAILED), (['stall'], FAILED)):
        result = box.run(*batch('--retries', '0', program(box, acts)))
        need(result.status == status, '{}: {}'.format(acts, result.text()))
    result = box.run(*batch('--no-skip', program(box, ['pass', 'skip'])))
    need_table(result, {'program/pass': 'PASS', 'program/skip': 'FAIL'}, FAILED)


def test_what_no_host_can_give_fails_and_what_this_one_lacks_is_skipped(box):
    path = program(box, [('pass/a', {'topology': '1,1,5000,1'}), ('pass/b', {'topology': '1,4,512,1'}), ('pass/c', {}),
                         ('pass/d', {'topology': 'nonsense'}), ('pass/e', {'memory_mib': 15}),
                         ('pass/f', {'memory_mib': 1 << 30})])
    result = box.run(*batch(path))
    outcomes = outcomes_of(result)
    need(outcomes == {'program/pass/a': 'FAIL', 'program/pass/b': 'SKIP', 'program/pass/c': 'PASS', 'program/pass/d': 'FAIL',
                      'program/pass/e': 'FAIL', 'program/pass/f': 'SKIP'}, result.text())
    need(b'it needs 2048 CPUs' in result.out and b'--overcommit' in result.out, result.text())
    need(b'again' not in result.out, result.text())


# Programs and their lists.

def test_program_without_a_list_is_a_failure_and_the_others_run(box):
    good = program(box, ['pass'], 'good')
    for name, text, why in (('garbage', 'echo hello', "but with 'hello'"), ('dies', 'kill -9 $$', 'SIGKILL'),
                            ('cut', "echo '{\"ktstr_list\":1,\"n_tests\":3}'", 'cut off: 3 tests promised, 0 came'),
                            ('silent', ':', 'prints nothing')):
        bad = box.file(name, '#!/bin/sh\n' + text + '\n', 0o755)
        result = box.run(*batch(bad, good))
        need_table(result, {'good/pass': 'PASS', '{}/--ktstr-list'.format(name): 'FAIL'}, FAILED)
        need(why in result.out.decode(), result.text())
    twice = program(box, ['pass', 'pass'], 'twice')
    need("two tests named 'pass'" in box.run(*batch(twice)).out.decode(), 'duplicate names')


def test_program_that_hangs_in_its_list_is_a_timeout(box):
    bad = box.file('hangs', '#!/bin/sh\nexec sleep 1000\n', 0o755)
    result = box.run(*batch(bad, program(box, ['pass'])), limit=60)
    need_table(result, {'program/pass': 'PASS', 'hangs/--ktstr-list': 'TIMEOUT'}, FAILED)
    box.need_clean()


def test_list_filter_shard_repeat_and_order(box):
    path = program(box, ['pass/{}'.format(i) for i in range(20)] + ['fail/x'])

    def listed(*args):
        result = box.run('test', '--list', *args, path)
        need(result.status in (OK, NOTHING), result.text())
        return result.out.decode().split()
    need(len(listed()) == 21, str(listed()))
    need(listed('--filter', 'fail/*') == ['program/fail/x'], 'filter')
    need(listed('--filter', 'nothing') == [], 'filter without a match')
    shards = [listed('--shard', '{}/3'.format(i)) for i in (1, 2, 3)]
    need(sorted(sum(shards, [])) == sorted(listed()) and all(shards), str(shards))
    need(len(listed('--repeat', '3')) == 63, 'repeat')
    need(listed('--seed', '1') == listed('--seed', '1') != listed('--seed', '2'), 'seed')
    need(listed('--seed', '1', '--shard', '1/1') == listed('--seed', '1'), 'one shard is all')
    result = box.run(*batch('--filter', 'nothing', path))
    need(result.status == NOTHING, result.text())
    result = box.run(*batch('--filter', 'pass/1', '--repeat', '3', path))
    need_table(result, {'program/pass/1#{}'.format(i): 'PASS' for i in (1, 2, 3)}, OK)


# Processes.

def vm_processes(box):
    found = []
    for pid in box.processes():
        try:
            with open('/proc/{}/comm'.format(pid), encoding='utf-8') as f:
                if f.read().strip() == 'ktstr-vm':
                    found.append(pid)
        except OSError:
            continue
    return found


def wait_for(n, look, limit=20):
    """What @look() found when it had @n. It is asked once for both: a process is not to be seen while it is in execve()."""
    end = time.monotonic() + limit * e2e.SLOW
    while True:
        found = look()
        if len(found) >= n:
            return found
        need(time.monotonic() < end, 'no {} processes: {}'.format(n, found))
        time.sleep(0.01)


def wait_for_vms(box, n):
    return wait_for(n, lambda: vm_processes(box))


def test_vm_process_has_nothing_but_a_vm_in_it(box):
    """Its program is static and comes from memory; a build that lacks it (sanitizers) executes ktstr itself."""
    if not os.path.exists(os.path.join(os.path.dirname(e2e.KTSTR), 'ktstr-vm')):
        raise e2e.Skip('this build has no program for VM processes')
    child = box.start(batch(program(box, ['idle'])))
    pid = wait_for_vms(box, 1)[0]
    exe = os.readlink('/proc/{}/exe'.format(pid))
    with open('/proc/{}/maps'.format(pid), encoding='utf-8') as f:
        libraries = {line.split()[-1] for line in f if '.so' in line}
    child.kill()
    child.communicate()
    box.need_clean()
    need('ktstr-vm' in exe and not libraries, '{}: {}'.format(exe, libraries))


def kill_some(box, child, n, per_look):
    """Kills @n VM processes of @child, at most @per_look random ones at a look; how many it got before the batch ended."""
    killed = set()
    while len(killed) < n and child.poll() is None:
        there = [pid for pid in vm_processes(box) if pid not in killed]
        for pid in random.sample(there, min(len(there), per_look, n - len(killed))):
            try:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            except ProcessLookupError:
                pass
        time.sleep(0.05)
    return len(killed)


def test_killed_vm_processes_cost_no_other_verdict(box):
    tests = [('fill/{}'.format(i), {'timeout_s': 120}) for i in range(8)] + [('fail/{}'.format(i), {}) for i in range(24)]
    child = box.start(batch('--jobs', '4', '--overcommit', '4', '--retries', '10', program(box, tests)))
    killed = kill_some(box, child, 10, 10)
    result = box.finish(child, limit=120)
    need_table(result, wanted_of(tests), FAILED)
    again = sum(table(result)[1].values())
    # One that had sent its verdict already has nothing left to lose.
    need(0 < again <= killed == 10, '{} killed, {} again: {}'.format(killed, again, result.text()))
    need(b'the VM process was ended by signal 9 (SIGKILL)' in result.out, result.text())
    box.need_clean()


def test_ten_random_kills_change_no_outcome_of_the_mixed_batch(box):
    tests = mixed()
    child = box.start(batch('--jobs', '32', '--overcommit', '16', '--retries', '10', program(box, tests)))
    killed = kill_some(box, child, 10, 1)
    result = box.finish(child, limit=120)
    need_table(result, wanted_of(tests), FAILED)
    again = table(result)[1]
    need(again.pop('program/no_init/one') == 10, 'it fails by itself, killed or not: ' + result.text())
    need(killed == 10 and 0 < sum(again.values()) <= killed, '{} killed, {} again: {}'.format(killed, again, result.text()))
    box.need_clean()


def test_without_retries_a_killed_vm_process_is_infra(box):
    child = box.start(batch('--retries', '0', program(box, ['idle'])))
    os.kill(wait_for_vms(box, 1)[0], signal.SIGKILL)
    result = box.finish(child)
    need_table(result, {'program/idle': 'INFRA'}, INFRA)


def test_killed_runner_leaves_nothing(box):
    child = box.start(batch('--overcommit', '8', '--jobs', '6', program(box, ['idle/{}'.format(i) for i in range(8)])))
    wait_for_vms(box, 6)
    child.kill()
    child.communicate()
    box.need_clean()
    slow = box.file('slow', '#!/bin/sh\nexec sleep 1000\n', 0o755)
    child = box.start(batch(slow))
    wait_for(2, box.processes)
    time.sleep(0.1)
    child.kill()
    child.communicate()
    box.need_clean()


def test_one_interrupt_lets_the_running_ones_end(box):
    child = box.start(batch('--jobs', '1', program(box, ['fill/1', 'pass/2', 'pass/3'])))
    wait_for_vms(box, 1)
    child.send_signal(signal.SIGINT)
    result = box.finish(child, limit=60)
    need_table(result, {'program/fill/1': 'PASS'}, INTERRUPTED)
    need(b'2 not run' in result.out, result.text())
    box.need_clean()


def test_two_interrupts_kill_all(box):
    child = box.start(batch('--overcommit', '4', program(box, ['idle/{}'.format(i) for i in range(4)])))
    wait_for_vms(box, 4)
    child.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    need(child.poll() is None, 'the first one ended it')
    child.send_signal(signal.SIGTERM)
    result = box.finish(child, limit=10)
    need_table(result, {}, INTERRUPTED)
    need(b'4 not run' in result.out, result.text())
    box.need_clean()


def test_more_than_two_interrupts_lose_no_report(box):
    out = box.file('json')
    child = box.start(batch('--overcommit', '4', '--json', out, program(box, ['idle/{}'.format(i) for i in range(4)])))
    wait_for_vms(box, 4)
    while child.poll() is None:  # until its very end, whatever it is at
        child.send_signal(signal.SIGINT)
        time.sleep(0.0005)
    result = box.finish(child)
    need_table(result, {}, INTERRUPTED)
    need(b'4 not run' in result.out and result.out.count(b'all that runs is killed') == 1, result.text())
    with open(out, encoding='utf-8') as f:
        need(json.load(f)['interrupted'] == signal.SIGINT, 'the document')
    box.need_clean()


def wait_for_file(path, limit=30):
    end = time.monotonic() + limit * e2e.SLOW
    while not os.path.exists(path):
        need(time.monotonic() < end, 'no ' + path)
        time.sleep(0.01)


def narrow_pipe():
    """One that is full after a page, so that a reader who does not read is felt soon."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    return read, write


def test_reader_that_does_not_read_holds_nothing_up_but_the_end(box):
    tests = ['pass/{}_{}'.format('long' * 25, i) for i in range(40)]
    path = program(box, tests)
    for is_read in (True, False):
        read, write = narrow_pipe()
        out = box.file('json{}'.format(is_read))
        child = box.start(batch('--json', out, path), stdout=write)
        os.close(write)
        wait_for_file(out, 60)
        with open(out, encoding='utf-8') as f:
            need(json.load(f)['counts']['PASS'] == 40, 'verdicts')
        time.sleep(0.2)
        need(child.poll() is None, 'it ended with text unread')
        if is_read:
            with open(read, 'rb') as f:
                text = f.read().decode()
            need(text.count('PASS ') >= 40 and '40 tests' in text, text)
            result = box.finish(child)
            need(result.status == OK, result.text())
            continue
        while child.poll() is None:  # one may come before it waits
            child.send_signal(signal.SIGINT)
            time.sleep(0.05)
        result = box.finish(child)
        need(result.status == INFRA and result.err == b'ktstr: standard output: Interrupted system call\n', result.text())
        os.close(read)


def test_document_for_a_reader_that_never_comes_can_be_given_up(box):
    fifo, other = box.file('fifo'), box.file('xml')
    os.mkfifo(fifo)
    child = box.start(batch('--json', fifo, '--junit', other, program(box, ['pass'])))
    time.sleep(1)
    need(child.poll() is None, 'it did not wait')
    while child.poll() is None:
        child.send_signal(signal.SIGINT)
        time.sleep(0.05)
    result = box.finish(child)
    need_table(result, {'program/pass': 'PASS'}, result.status)
    need(result.status in (INFRA, INTERRUPTED) and b'Interrupted system call' in result.err, result.text())
    need(os.path.exists(other), 'the other document')


def test_fail_fast_starts_nothing_more(box):
    result = box.run(*batch('--jobs', '1', '--fail-fast', program(box, ['pass', 'fail', 'pass/2', 'pass/3'])))
    need_table(result, {'program/pass': 'PASS', 'program/fail': 'FAIL'}, FAILED)
    need(b'2 not run' in result.out, result.text())


def test_vm_process_has_nothing_of_another(box):
    child = box.start(batch('--overcommit', '4', '--output', box.file('out'), program(box, ['idle/1', 'idle/2', 'idle/3'])))
    pids = wait_for_vms(box, 3)
    time.sleep(0.3)
    sockets = []
    for pid in pids:
        mine = []
        for fd in os.listdir('/proc/{}/fd'.format(pid)):
            to = os.readlink('/proc/{}/fd/{}'.format(pid, fd))
            need(to.startswith(('socket:', 'anon_inode:', '/dev/null', '/dev/kvm', 'pipe:', box.file('locks'), '/proc/{}/task/'.format(pid))) or
                 to == e2e.guest('actor'), 'descriptor {} is {}'.format(fd, to))
            if to.startswith('socket:'):
                mine.append(to)
        need(len(mine) == 1, 'sockets: {}'.format(mine))
        with open('/proc/{}/status'.format(pid), encoding='utf-8') as f:
            status = f.read()
        # Instrumented builds have no filter.
        need(e2e.SLOW > 2 or ('Seccomp:\t2' in status and 'CapEff:\t0000000000000000' in status), status)
        sockets += mine
    need(len(set(sockets)) == 3, str(sockets))
    child.kill()
    child.communicate()
    box.need_clean()


def cpus_of(pid):
    """Where each thread of a process may run, as sets of CPUs."""
    found = []
    for task in os.listdir('/proc/{}/task'.format(pid)):
        found.append(frozenset(os.sched_getaffinity(int(task))))
    return found


def test_no_two_vms_share_a_cpu_also_of_two_batches(box):
    n = len(os.sched_getaffinity(0))
    if n < 2:
        raise e2e.Skip('one CPU is not for two')
    env = box.env()
    first = box.start(batch('--jobs', '1', program(box, ['idle/1'], 'first')), env=env)
    wait_for_vms(box, 1)
    second = box.start(batch(program(box, ['idle/{}'.format(i) for i in range(n)], 'second')), env=env)
    pids = wait_for_vms(box, n)
    time.sleep(0.5)
    need(len(vm_processes(box)) == n, 'one more than there are CPUs runs')
    places = []
    for pid in pids:
        need(len(set(cpus_of(pid))) == 1 and len(cpus_of(pid)[0]) == 1, str(cpus_of(pid)))
        places.append(cpus_of(pid)[0])
    need(len(set(places)) == n, str(places))
    # The one that waits takes the place that becomes free.
    first.kill()
    first.communicate()
    end = time.monotonic() + 20 * e2e.SLOW
    while time.monotonic() < end and len(set(vm_processes(box)) - set(pids)) == 0:
        time.sleep(0.01)
    need(len(set(vm_processes(box)) - set(pids)) == 1, 'nothing took the place')
    second.kill()
    second.communicate()
    box.need_clean()


def test_without_locks_the_vms_of_a_batch_are_spread(box):
    n = len(os.sched_getaffinity(0))
    child = box.start(batch('--no-locks', program(box, ['idle/{}'.format(i) for i in range(n)])))
    pids = wait_for_vms(box, n)
    end = time.monotonic() + 10 * e2e.SLOW
    places = []
    while len(set(places)) < n and time.monotonic() < end:  # a VM process is placed a moment after it is there
        places = [frozenset().union(*cpus_of(pid)) for pid in pids]
        time.sleep(0.05)
    need(len(set(places)) == n and all(len(place) == 1 for place in places), str(places))
    child.kill()
    child.communicate()
    box.need_clean()


def test_place_that_others_hold_too_long_is_infra_and_an_interrupt_ends_the_wait(box):
    env = box.env()
    n = len(os.sched_getaffinity(0))
    first = box.start(batch(program(box, ['idle/{}'.format(i) for i in range(n)], 'first')), env=env)
    wait_for_vms(box, n)
    path = program(box, ['pass'], 'second')
    result = box.run(*batch('--wait', '500ms', '--retries', '0', path), env=env)
    need_table(result, {'second/pass': 'INFRA'}, INFRA)
    need(b'CPU' in result.out, result.text())
    second = box.start(batch(path), env=env)
    time.sleep(1)
    second.send_signal(signal.SIGINT)
    result = box.finish(second)
    need_table(result, {}, INTERRUPTED)
    result = box.run(*batch('--no-locks', path), env=env)
    need_table(result, {'second/pass': 'PASS'}, OK)
    first.kill()
    first.communicate()
    box.need_clean()


def test_lock_folder_that_cannot_be_used_is_told_once(box):
    for folder, why in (('/proc', 'ktstr-select.lock'), (box.file('none/such'), 'No such file'), ('/dev/null', 'no folder')):
        result = box.run(*batch(program(box, ['pass/a', 'pass/b'])), env=box.env(KTSTR_LOCK_DIR=folder))
        need_error(result, USAGE, folder, why)


def test_files_for_a_guest_that_is_no_linux_are_refused(box):
    kernel = ('--kernel', e2e.guest('actor'))
    path = program(box, ['pass'])
    for option, value in (('--include', '/etc/passwd'), ('--modules', box.path)):
        need_error(box.run('test', *kernel, option, value, path), USAGE, 'not a Linux kernel', option)
        need_error(box.run('run', *kernel, option, value, '--append', 'ktstr.run=pass'), USAGE, 'not a Linux kernel', option)


# What is kept, what is shown.

def test_output_has_a_folder_for_each_test_that_replays_it(box):
    out = box.file('out')
    result = box.run(*batch('--output', out, '--append', "a 'quoted' word", program(box, ['pass/a', 'fail/b', 'no_init/c'])))
    need(result.status == FAILED, result.text())
    report = box.run('report', out)
    need(report.status == FAILED and b'a check failed on purpose' in report.out, report.text())
    need(box.run('report', os.path.join(out, 'program,pass,a')).status == OK, 'the result of one test')
    need(sorted(n for n in os.listdir(out) if ',' in n) ==
         ['program,fail,b', 'program,no_init,c', 'program,no_init,c.attempt1', 'program,no_init,c.attempt2', 'program,pass,a'],
         str(os.listdir(out)))

    def content(*path):
        with open(os.path.join(out, *path), 'rb') as f:
            return f.read()
    need(content('program,pass,a', 'output.log') == b'said by the test\n', 'output.log')
    need(b'the actor enters' in content('program,pass,a', 'dmesg.log'), 'dmesg.log')
    need(len(content('program,pass,a', 'frames.bin')) > 100, 'frames.bin')
    replay = subprocess.run([os.path.join(out, 'program,fail,b', 'replay.sh')], env=box.env(), cwd='/',
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60 * e2e.SLOW, check=False)
    need(replay.returncode == FAILED and b'program/fail/b: a check failed' in replay.stdout, repr(replay))
    need_error(box.run(*batch('--output', out, program(box, ['pass']))), USAGE, '--output', 'not empty')


def test_folder_with_a_newline_in_its_name_gets_the_results(box):
    out = box.file('a\nb')
    result = box.run(*batch('--output', out, program(box, ['pass'])))
    need(result.status == OK, result.text())
    with open(os.path.join(out, 'program,pass', 'result.json'), encoding='utf-8') as f:
        need(json.load(f)['tests'][0]['outcome'] == 'PASS', 'its own result')


def test_text_that_cannot_be_written_is_told(box):
    path = program(box, ['pass'])
    for args in (['test', '--list', path], batch(path)):
        with open('/dev/full', 'wb') as full:
            result = box.run(*args, stdout=full)
        need(result.status == (115 if '--list' in args else INFRA), result.text())
        need(result.err == b'ktstr: standard output: No space left on device\n', result.text())
    result = box.run(*batch('--json', box.file('json'), path), wrapper=('sh', '-c', '"$0" "$@" | true; exec cat "{}"'.format(
        box.file('json'))))
    need(json.loads(result.out.decode())['exit_status'] == OK, 'a reader that is gone is no trouble: ' + result.text())


def test_full_disk_loses_no_verdict(box):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))
    child = subprocess.Popen([e2e.KTSTR] + batch('--output', box.file('out'), program(box, ['pass/a', 'fail/b'])),
                             env=box.env(), cwd=box.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, preexec_fn=limit)
    result = box.finish(child)
    outcomes = outcomes_of(result)
    need(outcomes == {'program/pass/a': 'PASS', 'program/fail/b': 'FAIL'} and result.status != OK, result.text())


def test_limit_of_open_files_is_a_limit_of_jobs(box):
    """The soft limit is raised; what the hard one allows runs, with one line about it, and nothing is tried again."""
    path = program(box, ['pass/{}'.format(i) for i in range(24)])
    for soft, hard, is_short in ((20, 1000, False), (100, 100, True)):
        def limit(soft=soft, hard=hard):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for more in [], ['--output', box.file('out{}'.format(hard))]:
            child = subprocess.Popen([e2e.KTSTR] + batch('--jobs', '24', '--overcommit', '24', *more, path),
                                     env=box.env(), cwd=box.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, preexec_fn=limit)
            result = box.finish(child, limit=60)
            need(set(outcomes_of(result).values()) == {'PASS'} and len(outcomes_of(result)) == 24, result.text())
            need(result.status == OK and b'again' not in result.out, result.text())
            need(result.out.count(b'limit of open files (`ulimit -n` is 100)') == is_short, result.text())


def test_reader_that_goes_away_changes_no_status(box):
    read, write = os.pipe()
    child = box.start(batch(program(box, ['pass/{}'.format(i) for i in range(4)] + ['fail'])), stdout=write)
    os.close(write)
    os.close(read)
    result = box.finish(child)
    need(result.status == FAILED, result.text())


def test_terminal_has_a_block_that_fits_and_goes(box):
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack('HHHH', 10, 40, 0, 0))
    child = box.start(batch('--jobs', '1', program(box, ['fill/a_name_that_is_much_longer_than_a_line_of_forty', 'pass/b'])),
                      stdout=side, env=box.env(TERM='xterm'))
    os.close(side)
    text = b''
    end = time.monotonic() + 60 * e2e.SLOW
    while time.monotonic() < end:
        if not select.select([main], [], [], 0.2)[0]:
            if child.poll() is not None:
                break
            continue
        try:
            chunk = os.read(main, 65536)
        except OSError:
            break
        if not chunk:
            break
        text += chunk
    child.wait(timeout=60)
    os.close(main)
    need(child.returncode == OK, '{}: {!r}'.format(child.returncode, text[-1000:]))
    need(b'0 of 2' in text and b'1 of 2' in text and b' s  command' in text, repr(text[:2000]))
    lines = screen(text)
    need(lines[0].startswith('PASS') and lines[1].startswith('PASS') and not any(' of 2 ' in line for line in lines), str(lines))
    for line in re.split(rb'\r?\n|\x1b\[1A\x1b\[2K', text):
        need(len(line) < 40 or b' s  program/' in line or b' of 2 ' not in line, 'too wide: {!r}'.format(line))


def screen(text):
    """What is left on a terminal of endless height that knows line feeds, cursor up and erase line."""
    lines, row = [''], 0
    for part in re.findall(r'\x1b\[1A|\x1b\[2K|\r|\n|[^\x1b\r\n]+', text.decode(errors='replace')):
        if part == '\x1b[1A':
            row -= 1
        elif part == '\x1b[2K':
            lines[row] = ''
        elif part == '\n':
            row += 1
            if row == len(lines):
                lines.append('')
        elif part != '\r':
            lines[row] += part
    return [line for line in lines if line]


if __name__ == '__main__':
    e2e.need_kvm()
    e2e.main([case for name, case in list(globals().items()) if name.startswith('test_')])
