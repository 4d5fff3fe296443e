#!/usr/bin/python3
"""`ktstr test`: the place on the host that a test declares is the one that its VM gets, verified, and told in the results."""
import json
import os
import signal
import time

import e2e
from e2e import need, need_error
from test_batch import FAILED, INFRA, NOTHING, OK, USAGE, batch, cpus_of, need_table, outcomes_of, program, table, wait_for_vms

N_CPUS = len(os.sched_getaffinity(0))
PERF = {'perf': True}
BUDGET = {'topology': '1,1,2,1', 'cpu_cap': 1}
NO_CGROUP = b'kept by affinity only'


def results(box, tests, *args, **more):
    """The entries of a batch by name, and the result of the command."""
    path = box.file('json')
    result = box.run(*batch('--json', path, *args, program(box, tests)), **more)
    with open(path, encoding='utf-8') as f:
        return {test['name']: test for test in json.load(f)['tests']}, result


def cpus(test):
    found = set()
    for part in filter(None, test['resources']['cpus'].split(',')):
        first, _, last = part.partition('-')
        found |= set(range(int(first), int(last or first) + 1))
    return found


def need_2_cpus():
    if N_CPUS < 2:
        raise e2e.Skip('performance mode needs 2 CPUs')


def test_performance_test_runs_in_performance_mode(box):
    need_2_cpus()
    child = box.start(batch(program(box, [('idle', PERF)])))
    vm = wait_for_vms(box, 1)[0]
    end = time.monotonic() + 20 * e2e.SLOW
    while len(set(cpus_of(vm))) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    places = cpus_of(vm)
    need(len(set(places)) == 2 and all(len(place) == 1 for place in places), 'vCPU and service CPU: ' + str(places))
    child.kill()
    child.communicate()
    box.need_clean()


def test_performance_is_told_in_the_results(box):
    need_2_cpus()
    tests, result = results(box, [('pass', PERF)])
    need_table(result, {'program/pass': 'PASS'}, OK)
    test = tests['pass']
    need(test['declared']['perf'] and len(cpus(test)) == 2 and test['resources']['overcommit'] == 1, str(test))
    need(len(test['resources']['vcpus']) == 1 and test['resources']['counters']['vcpu0.run_us'] > 0, str(test['resources']))
    need('vcpu0.run_delay_us' not in test['resources']['counters'], 'told twice')
    notes = ' '.join(test['evidence']['notes'])
    with open('/proc/sys/vm/nr_hugepages', encoding='utf-8') as f:
        need(int(f.read()) > 0 or 'pages of 2 MiB' in notes, 'silent about pages: ' + notes)


def test_performance_tests_never_share_a_cpu(box):
    need_2_cpus()
    names = ['pass/{}'.format(i) for i in range(4)]
    tests, result = results(box, [(name, PERF) for name in names] + ['fail'], '--jobs', '4', '--overcommit', '4')
    need_table(result, dict({'program/' + name: 'PASS' for name in names}, **{'program/fail': 'FAIL'}), FAILED)
    for a in names:
        for b in tests:
            one, two = tests[a], tests[b]
            apart = (one['begin_us'] + one['duration_us'] <= two['begin_us'] or
                     two['begin_us'] + two['duration_us'] <= one['begin_us'])
            need(a == b or apart or not cpus(one) & cpus(two), '{} and {} share a CPU: {} {}'.format(a, b, one, two))


def test_performance_that_cannot_be_is_a_skip_with_need_and_have(box):
    large = ('pass', {'perf': True, 'topology': '1,1,{},1'.format(N_CPUS)})
    for options in [], ['--overcommit', '4']:
        _tests, result = results(box, [large], *options)
        need_table(result, {'program/pass': 'SKIP'}, NOTHING)
        why = table(result)[0]['program/pass'][1]
        need('performance mode needs' in why and str(N_CPUS) in why and '--overcommit' not in why, why)
    _tests, result = results(box, [large], '--no-skip')
    need_table(result, {'program/pass': 'FAIL'}, FAILED)


def test_performance_tests_take_turns_without_a_wait_for_locks(box):
    """Here one takes all CPUs: admission knows, and no second one is started only to wait."""
    need_2_cpus()
    names = ['fill/{}'.format(i) for i in range(2)]
    for options in [], ['--overcommit', '4']:
        tests, result = results(box, [(name, dict(PERF, topology='1,1,{},1'.format(N_CPUS - 1))) for name in names],
                                '--jobs', '4', '--wait', '0', '--retries', '0', *options, limit=60)
        need_table(result, {'program/' + name: 'PASS' for name in names}, OK)
        need(all(test['resources']['overcommit'] == 1 for test in tests.values()), str(tests))


def test_budget_is_kept_and_its_factor_told(box):
    tests, result = results(box, [('pass/a', BUDGET), ('pass/b', BUDGET), 'pass/c'])
    need(set(outcomes_of(result).values()) == {'PASS'} and result.status == OK, result.text())
    for name in 'pass/a', 'pass/b':
        test = tests[name]
        need(len(cpus(test)) == 1 and test['resources']['overcommit'] >= 2, str(test['resources']))
        need(len(test['resources']['vcpus']) == 2, str(test['resources']))
        need(any('as the CPU budget says' in note for note in test['evidence']['notes']), str(test['evidence']))
    need(not any('budget' in note for note in tests['pass/c']['evidence']['notes']), 'the third has none')
    need(result.out.count(NO_CGROUP) <= 1, 'said with each test: ' + result.text())
    _tests, result = results(box, ['pass'])
    need(NO_CGROUP not in result.out, 'nobody wants a cgroup: ' + result.text())


def test_budget_of_the_command_line_is_of_tests_without_a_place_of_their_own(box):
    wide = {'topology': '1,1,4,1'}
    declared = [('pass/a', wide), ('pass/b', wide), ('pass/narrow', {}), ('pass/own', dict(wide, cpu_cap=N_CPUS))]
    if N_CPUS >= 2:
        declared.append(('pass/perf', PERF))
    out = box.file('out')
    tests, result = results(box, declared, '--cpu-cap', '1', '--output', out)
    need(set(outcomes_of(result).values()) == {'PASS'} and result.status == OK, result.text())
    for name, cap, n in ('pass/a', 1, 1), ('pass/b', 1, 1), ('pass/narrow', 1, 1), ('pass/own', N_CPUS, min(N_CPUS, 4)):
        test = tests[name]
        need(test['declared']['cpu_cap'] == cap and len(cpus(test)) == n, name + ': ' + str(test))
        notes = ' '.join(test['evidence']['notes'])
        need('as the CPU budget says' in notes or len(test['resources']['vcpus']) <= n, name + ': ' + notes)
    need(all(test['declared']['cpu_cap'] == 0 and len(cpus(test)) == 2 for name, test in tests.items() if name == 'pass/perf'),
         str(tests))
    need(tests['pass/a']['resources']['overcommit'] >= 4, str(tests['pass/a']['resources']))
    with open(os.path.join(out, 'program,pass,a', 'replay.sh'), encoding='utf-8') as f:
        need(' --cpu-cap 1 ' in f.read(), 'replay.sh')


def test_budget_lets_a_test_that_is_wider_than_the_host_run(box):
    """Admission counts the budget, not the vCPUs; --no-locks changes nothing in that."""
    wide = program(box, [('pass', {'topology': '1,1,{},1'.format(N_CPUS + 2)})])
    need_table(box.run(*batch(wide)), {'program/pass': 'SKIP'}, NOTHING)
    need_table(box.run(*batch(wide), env=box.env(KTSTR_CPU_CAP='1')), {'program/pass': 'PASS'}, OK)
    need_table(box.run(*batch('--no-locks', '--cpu-cap', '1', wide)), {'program/pass': 'PASS'}, OK)


def test_budget_that_the_host_has_not_is_refused(box):
    path = program(box, ['pass'])
    for n in '0', str(N_CPUS + 1):
        need_error(box.run(*batch('--cpu-cap', n, path)), USAGE, '--cpu-cap', n)
        need_error(box.run(*batch('--no-locks', '--cpu-cap', n, path)), USAGE, '--cpu-cap', n)
    need_error(box.run(*batch('--cpu-cap', 'x', path)), USAGE, '--cpu-cap')
    need_error(box.run(*batch('--wait', '1x', path)), USAGE, '--wait', '1x')


def stop_new_vm(child):
    """Stops a runner's first VM process just after it was executed, before it has said that its vCPUs are there."""
    end = time.monotonic() + 20 * e2e.SLOW
    children = '/proc/{0}/task/{0}/children'.format(child.pid)
    while time.monotonic() < end:
        with open(children, encoding='utf-8') as f:
            pids = [int(pid) for pid in f.read().split()]
        for pid in pids:
            try:
                with open('/proc/{}/cmdline'.format(pid), 'rb') as f:
                    if f.read().startswith(b'ktstr\0vmm\0'):
                        os.kill(pid, signal.SIGSTOP)
                        return pid
            except OSError:
                continue  # it ended: a program that listed its tests
    raise e2e.Failure('no VM process')


def wait_until_idle(pid):
    """It sleeps and used no CPU time for a moment: a runner has then given its VM process what that needs."""
    end = time.monotonic() + 20 * e2e.SLOW
    before = None
    while time.monotonic() < end:
        with open('/proc/{}/schedstat'.format(pid), encoding='utf-8') as f:
            used = f.read()
        with open('/proc/{}/stat'.format(pid), encoding='utf-8') as f:
            is_asleep = f.read().rpartition(') ')[2].startswith('S')
        if is_asleep and used == before:
            return
        before = used
        time.sleep(0.02)
    raise e2e.Failure('{} is never idle'.format(pid))


def move_first_vcpu(vm):
    """Once it is there, to where it was not promised to be. False: too late, the process is gone."""
    end = time.monotonic() + 20 * e2e.SLOW
    while time.monotonic() < end:
        try:
            for task in os.listdir('/proc/{}/task'.format(vm)):
                with open('/proc/{}/task/{}/comm'.format(vm, task), encoding='utf-8') as f:
                    if f.read().strip() == 'vcpu0' and len(os.sched_getaffinity(int(task))) == 1:
                        os.sched_setaffinity(int(task), set(os.sched_getaffinity(0)))
                        return True
        except OSError:
            return False
    return False


def ended(child):
    end = time.monotonic() + e2e.SLOW
    while child.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    return child.poll() is not None


def test_broken_promise_is_infra_with_its_text(box):
    """
    The VM process is stopped before it can tell of its vCPUs, then the runner; it goes on and the promise is broken behind the
    runner's back. Should it have told already when it was stopped, then once more.
    """
    need_2_cpus()
    for _ in range(20):
        child = box.start(batch('--retries', '0', program(box, [('idle', PERF)])))
        vm = stop_new_vm(child)
        wait_until_idle(child.pid)
        child.send_signal(signal.SIGSTOP)
        os.kill(vm, signal.SIGCONT)
        moved = move_first_vcpu(vm)
        child.send_signal(signal.SIGCONT)
        if not ended(child):  # it had looked already, and the guest idles
            child.kill()
            child.communicate()
            continue
        result = box.finish(child)
        need_table(result, {'program/idle': 'INFRA'}, INFRA)
        need(moved and b'it was promised CPU' in result.out, result.text())
        box.need_clean()
        return
    raise e2e.Failure('never caught')


def test_killed_runner_leaves_no_place_behind(box):
    for declared in PERF, BUDGET:
        if declared is PERF and N_CPUS < 2:
            continue
        child = box.start(batch(program(box, [('idle', declared)])))
        wait_for_vms(box, 1)
        child.kill()
        child.communicate()
        box.need_clean()
        need(not json.loads(box.run('locks', '--json').out)['locks'], 'locks are left')
        result = box.run('cleanup')
        need(result.status == 0 and b'0 in use' in result.out, result.text())


if __name__ == '__main__':
    e2e.need_kvm()
    e2e.main([case for name, case in list(globals().items()) if name.startswith('test_')])
