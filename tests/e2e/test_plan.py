#!/usr/bin/python3
"""`ktstr plan`, `ktstr locks` and `ktstr cleanup` as a user meets them. Hosts are made up (--host), locks are in a folder of the
case's own."""
import json
import os
import signal
import subprocess
import sys

import e2e
from e2e import need, need_error

USAGE, INFRA, SKIP = 64, 115, 116
HOST = 'numa:2 l3:2 core:4 pu:2'


def plan(box, *args, status=0, host=HOST, **more):
    result = box.run('plan', *(['--host', host] if host else []), *args, **more)
    need(result.status == status, 'wanted status {}: {}'.format(status, result.text()))
    return result.out.decode()


def plan_json(box, *args, **more):
    return json.loads(plan(box, '--json', *args, **more))


def test_performance_plan_is_aligned(box):
    doc = plan_json(box, '--perf', '--topology', '2,4,3,2')
    p = doc['plan']
    need(doc['version'] == 1 and doc['result'] == 'ok', doc)
    need(p['tier'] == 'performance' and p['numa_aligned'] and p['smt_aligned'], p)
    need(len(set(p['vcpu_cpus'])) == 24 and p['service_cpu'] not in p['vcpu_cpus'], p)
    need([lock['exclusive'] for lock in p['locks']] == [True] * 4, p)
    need([llc['node'] for llc in p['guest_llcs']] == [0, 0, 1, 1], p)
    need(p['mems'] == '0-1', p)


def test_hosts_are_shown(box):
    doc = json.loads(box.run('topo', '--host', HOST, '--json').out)['host']
    need(doc['n_cpus'] == 32 and len(doc['llcs']) == 4 and doc['llcs'][1]['cores'][0] == [8, 9], doc)
    need([node['distances'] for node in doc['nodes']] == [[10, 20], [20, 10]], doc)
    need('LLC 3   .. .. .. ..   CPUs 24-31' in box.run('topo', '--host', HOST).out.decode(), 'the picture')
    need(json.loads(box.run('topo', '--json').out)['host']['n_cpus'] >= len(os.sched_getaffinity(0)), 'this host')
    need_error(box.run('topo', '--host', HOST, '--presets'), USAGE, '--host')


def test_picture_and_reasons(box):
    text = plan(box, '--perf', '--topology', '1,1,4,1', '--explain')
    need('node 0   distances 10 20' in text, text)
    need('LLC 0   #s #. #. #.   CPUs 0-7   locked' in text, text)
    need('lock: LLC 0, exclusive' in text and 'why: ' in text and 'memory: node 0' in text, text)


def test_host_that_cannot_align_says_so(box):
    text = plan(box, '--perf', '--topology', '2,2,2,2', host='l3:4 core:4 pu:1')
    need('NUMA: not aligned' in text and 'SMT: not aligned' in text, text)


def test_performance_needs_and_haves(box):
    need_error(box.run('plan', '--host', HOST, '--perf', '--topology', '1,5,4,1'), SKIP, 'needs 5 LLCs', '4 make up')
    need_error(box.run('plan', '--host', 'l3:1 core:4 pu:1', '--perf', '--topology', '1,1,4,1'), SKIP, 'needs 5 CPUs')


def test_budget(box):
    p = plan_json(box, '--cpu-cap', '10')['plan']
    need(p['tier'] == 'budget' and p['cpus'] == '0-9' and p['mems'] == '0', p)
    p = plan_json(box, env=box.env(KTSTR_CPU_CAP='3'))['plan']
    need(p['n_cpus'] == 3, p)
    p = plan_json(box, '--cpu-cap', '2', env=box.env(KTSTR_CPU_CAP='3'))['plan']
    need(p['n_cpus'] == 2, p)
    p = plan_json(box, env=box.env(KTSTR_CPU_CAP=''))['plan']
    need(p['tier'] == 'default', p)


def test_bad_budgets(box):
    need_error(box.run('plan', '--host', HOST, '--cpu-cap', '33'), USAGE, '--cpu-cap', '33', '32 CPUs')
    need_error(box.run('plan', '--host', HOST, '--cpu-cap', '0'), USAGE, '--cpu-cap')
    need_error(box.run('plan', '--host', HOST, env=box.env(KTSTR_CPU_CAP='0')), USAGE, 'KTSTR_CPU_CAP')
    need_error(box.run('plan', '--host', HOST, env=box.env(KTSTR_CPU_CAP='two')), USAGE, 'KTSTR_CPU_CAP', 'two')
    need_error(box.run('plan', '--host', HOST, '--perf', '--cpu-cap', '2'), USAGE, '--perf')
    need_error(box.run('plan', '--host', HOST, '--spread'), USAGE, '--spread')


def test_bad_options(box):
    need_error(box.run('plan', '--bogus'), USAGE, '--bogus')
    need_error(box.run('plan', 'more'), USAGE, 'more')
    need_error(box.run('plan', '--topology', '1,1'), USAGE, '--topology')
    need_error(box.run('plan', '--host', 'numa:x'), USAGE, 'numa:x')
    need_error(box.run('plan', '--host', '/nowhere.xml'), USAGE, '/nowhere.xml')
    need_error(box.run('plan', '--host', box.file('x.xml', 'no')), USAGE, 'x.xml')
    need_error(box.run('locks', '--watch', '1x'), USAGE, '--watch')
    need_error(box.run('locks', '--watch', '2h'), USAGE, '--watch', '3600 s')
    need_error(box.run('locks', 'more'), USAGE, 'more')


def test_only_allowed_cpus_of_this_host(box):
    cpu = sorted(os.sched_getaffinity(0))[-1]
    doc = plan_json(box, host=None, env=box.env(KTSTR_LOCK_DIR=box.file('locks')),
                    wrapper=['taskset', '-c', str(cpu)])
    need(doc['host']['allowed'] == str(cpu) and doc['plan']['cpus'] == str(cpu), doc)


class Holder:
    """Holds an exclusive lock on a file of the lock folder, as a process of another tool would."""

    def __init__(self, path):
        self.child = subprocess.Popen(
            [sys.executable, '-c', 'import fcntl, sys\nf = open(sys.argv[1], "a")\nfcntl.flock(f, fcntl.LOCK_EX)\n'
             'print(flush=True)\nsys.stdin.read()', path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.child.stdout.readline()

    def __enter__(self):
        return self.child.pid

    def __exit__(self, *_why):
        self.child.send_signal(signal.SIGKILL)
        self.child.communicate()


def test_locks_of_others_are_seen(box):
    folder = box.file('locks')
    env = box.env(KTSTR_LOCK_DIR=folder)
    os.mkdir(folder)
    need(json.loads(box.run('locks', '--json', env=env).out) == {
        'version': 1, 'dir': folder, 'locks': [], 'waiters': []}, 'an empty folder')
    with Holder(os.path.join(folder, 'ktstr-llc-0.lock')) as pid:
        doc = json.loads(box.run('locks', '--json', env=env).out)
        lock = doc['locks'][0]
        need(len(doc['locks']) == 1 and lock['pid'] == pid and lock['kind'] == 'llc' and lock['exclusive'], doc)
        need('import fcntl' in lock['command'], doc)
        text = box.run('locks', env=env).out.decode()
        need(str(pid) in text and 'LLC 0' in text and 'exclusive' in text, text)
        if len(os.sched_getaffinity(0)) == len(plan_json(box, host=None, env=env, status=1)['host']['online']):
            need('busy' in plan(box, host=None, env=env, status=1), 'one LLC, and it is held')
        out = box.run('cleanup', env=env).out.decode()
        need('removed 0, kept 1' in out, out)
    out = box.run('cleanup', env=env).out.decode()
    need('removed 1, kept 0' in out and not os.listdir(folder), out)


def test_no_lock_folder_is_no_error(box):
    env = box.env(KTSTR_LOCK_DIR=box.file('none'))
    for command in ('locks', 'cleanup', 'plan'):
        result = box.run(command, env=env)
        need(result.status == 0 and not result.err, result.text())
    need(not os.path.exists(box.file('none')), 'a look made the folder')


def test_bad_lock_folders(box):
    os.symlink('/tmp', box.file('link'))
    need_error(box.run('locks', env=box.env(KTSTR_LOCK_DIR=box.file('link'))), USAGE, 'link', 'no folder')
    os.mkdir(box.file('open'))
    os.chmod(box.file('open'), 0o777)
    need_error(box.run('locks', env=box.env(KTSTR_LOCK_DIR=box.file('open'))), USAGE, 'chmod +t')


if __name__ == '__main__':
    e2e.main([case for name, case in list(globals().items()) if name.startswith('test_')])
