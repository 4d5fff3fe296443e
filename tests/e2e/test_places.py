#!/usr/bin/python3
"""Where `ktstr run` runs on this host: tiers, locks, waits, and what becomes of them however a run ends. Micro-guests; each case has
a lock folder of its own."""
import json
import os
import signal
import time

import e2e
from e2e import need, need_error

USAGE, INFRA, SKIP = 64, 115, 116
N_CPUS = len(os.sched_getaffinity(0))


def guest(name):
    return os.path.join(e2e.GUESTS, 'guest_' + name)


def run_json(box, *args, kernel='hello', **more):
    path = box.file('result.json')
    result = box.run('run', '--kernel', guest(kernel), '--json', path, *args, **more)
    need(result.status == 0, result.text())
    with open(path, encoding='utf-8') as f:
        return json.load(f), result.err.decode()


def locks(box):
    return json.loads(box.run('locks', '--json').out)


def hold(box, *args):
    """A run whose guest halts until it is told to end; returns when it has its place and its VM."""
    child = box.start(['run', '--kernel', guest('ends'), '--append', 'hang_hlt', *args])
    box.vm_process()
    return child


def until(condition, text, limit=10):
    end = time.monotonic() + limit * e2e.SLOW
    while not condition():
        need(time.monotonic() < end, text)
        time.sleep(0.02)


def test_default_run_has_a_window_of_its_own(box):
    doc, err = run_json(box)
    p = doc['placement']
    need(p['tier'] == 'default' and p['n_cpus'] == 1 and p['locked'] and p['overcommit'] == 1 and not err, (p, err))
    need([(lock['kind'], lock['exclusive']) for lock in p['locks']] == [('llc', False), ('cpu', True)], p)
    need(doc['stats']['vcpus.run_us'] > 0 and 'vcpu0.run_delay_us' in doc['stats'], doc['stats'])
    need('vcpu0.involuntary_switches' in doc['stats'] and not locks(box)['locks'], 'statistics, locks')


def test_larger_guest_than_host_runs_and_says_so(box):
    n = 2 * N_CPUS
    doc, err = run_json(box, '--topology', '1,1,{},1'.format(n), '--append', 'cpus={}'.format(n), kernel='smp')
    need(doc['placement']['overcommit'] == 2.0 and 'nobody asked for it' in err, (doc['placement'], err))


def test_budget_is_on_its_cpus_and_verified(box):
    doc, err = run_json(box, '--cpu-cap', '1', '--topology', '1,1,2,1', '--append', 'cpus=2', kernel='smp')
    p = doc['placement']
    need(p['tier'] == 'budget' and p['verified']['vcpus'] == 2 and p['verified']['locks'] == 2, p)
    need('as the CPU budget says' in err, err)
    child = hold(box, '--cpu-cap', '1', '--topology', '1,1,2,1')
    vm = box.vm_process()
    cpu = [lock['id'] for lock in locks(box)['locks'] if lock['kind'] == 'cpu']
    until(lambda: len(os.listdir('/proc/{}/task'.format(vm))) >= 3, 'threads')
    for task in os.listdir('/proc/{}/task'.format(vm)):
        need(list(os.sched_getaffinity(int(task))) == cpu, (task, cpu))
    child.send_signal(signal.SIGINT)
    need(box.finish(child).status == 130, 'interrupted')


def test_performance_is_applied_and_verified(box):
    if N_CPUS < 2:
        raise e2e.Skip('performance mode needs 2 CPUs')
    doc, err = run_json(box, '--perf')
    p = doc['placement']
    need(p['tier'] == 'performance' and p['verified']['vcpus'] == 1 and p['verified']['locks'] >= 1, p)
    need(p['applied']['pinned'] and p['applied']['memory_bound'] and p['verified']['pages'] > 0, p)
    names = {'fifo': 'SCHED_FIFO', 'hugepages': 'pages of 2 MiB', 'memory_locked': 'MEMLOCK', 'pause_exits_off': 'PAUSE',
             'hlt_exits_off': 'HLT', 'clock_stable': 'clock'}
    for key, word in names.items():
        need(p['applied'][key] or word in err, 'silent about ' + key)


def test_what_cannot_be_is_told_by_class(box):
    flat = ('run', '--kernel', guest('flat'))
    need_error(box.run(*flat, '--perf', '--topology', '1,1,{},1'.format(N_CPUS)), SKIP, 'performance mode needs')
    need_error(box.run(*flat, '--cpu-cap', str(N_CPUS + 1)), USAGE, '--cpu-cap', str(N_CPUS + 1))
    need_error(box.run(*flat, '--cpu-cap', '0'), USAGE, '--cpu-cap')
    need_error(box.run(*flat, env=box.env(KTSTR_CPU_CAP='0')), USAGE, 'KTSTR_CPU_CAP')
    need_error(box.run(*flat, '--perf', '--cpu-cap', '1'), USAGE, '--perf')
    need_error(box.run(*flat, '--spread'), USAGE, '--spread')
    need_error(box.run(*flat, '--wait', '1x'), USAGE, '--wait')
    doc, _err = run_json(box, '--cpu-cap', '1', env=box.env(KTSTR_CPU_CAP='x'))
    need(doc['placement']['tier'] == 'budget', 'the flag wins')
    doc, _err = run_json(box, env=box.env(KTSTR_CPU_CAP=''))
    need(doc['placement']['tier'] == 'default', 'empty is unset')


def test_contention_waits_then_names_the_holder(box):
    topology = ('--topology', '1,1,{},1'.format(N_CPUS))
    child = hold(box, *topology)
    flat = ('run', '--kernel', guest('flat'), *topology)
    need_error(box.run(*flat, '--wait', '0'), INFRA, str(child.pid), 'ktstr locks --json')
    waiting = box.start([*flat, '--wait', '5m'])
    until(lambda: len(locks(box)['waiters']) == 1, 'nobody waits')
    need(box.run(*flat, '--no-locks').status == 0, '--no-locks waits for nobody')
    child.send_signal(signal.SIGINT)
    need(box.finish(child).status == 130, 'interrupted')
    result = box.finish(waiting)
    need(result.status == 0, result.text())
    need(not locks(box)['locks'] and not locks(box)['waiters'], 'something is left')


def test_signal_ends_the_wait(box):
    topology = ('--topology', '1,1,{},1'.format(N_CPUS))
    child = hold(box, *topology)
    waiting = box.start(['run', '--kernel', guest('flat'), *topology])
    until(lambda: len(locks(box)['waiters']) == 1, 'nobody waits')
    waiting.send_signal(signal.SIGTERM)
    result = box.finish(waiting)
    need(result.status == 143 and b'SIGTERM while it waited' in result.err, result.text())
    child.send_signal(signal.SIGINT)
    box.finish(child)
    box.need_clean()


def test_killed_runner_frees_its_cpus_with_its_vm(box):
    child = hold(box)
    vm = box.vm_process()
    need(locks(box)['locks'][0]['pid'] == child.pid, 'the locks are the runner\'s')
    child.send_signal(signal.SIGSTOP)  # it cannot give anything up by itself
    child.send_signal(signal.SIGKILL)
    child.communicate()
    until(lambda: not os.path.exists('/proc/{}'.format(vm)), 'the VM lives on')
    until(lambda: not locks(box)['locks'], 'locks are left')


def test_vm_process_keeps_the_cpus_of_its_vcpus(box):
    child = hold(box)
    vm = box.vm_process()
    names = [os.readlink('/proc/{}/fd/{}'.format(vm, fd)) for fd in os.listdir('/proc/{}/fd'.format(vm))]
    need([n for n in names if n.endswith('ktstr-cpu-0.lock') or '/ktstr-cpu-' in n], names)
    child.send_signal(signal.SIGINT)
    box.finish(child)


if __name__ == '__main__':
    e2e.main([case for name, case in list(globals().items()) if name.startswith('test_')])
