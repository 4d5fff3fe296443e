#!/usr/bin/python3
"""The example test programs on this host, without a VM: what they list, and how their tests end."""
import json
import os
import subprocess

import e2e
from e2e import need

PASS, FAIL, USAGE, SKIP, INCONCLUSIVE = 0, 1, 64, 77, 78
PROGRAMS = ('fairness', 'io', 'machine', 'must', 'storm', 'wakeups', 'where')
KEYS = {'name': str, 'summary': str, 'topology': str, 'memory_mib': int, 'timeout_s': int, 'perf': bool, 'cpu_cap': int,
        'disk_mib': int, 'disk_fs': str, 'net': bool, 'vm_only': bool}


def call(box, program, *args, **env):
    child = subprocess.run([os.path.join(e2e.BUILD, 'examples', program)] + list(args), env=box.env(**env), cwd=box.path,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           timeout=60 * e2e.SLOW, check=False)
    return e2e.Result(child.returncode, child.stdout, child.stderr, 0)


def listed(box, program):
    result = call(box, program, '--ktstr-list')
    need(result.status == 0 and not result.err, result.text())
    head, *tests = [json.loads(line) for line in result.out.splitlines()]
    need(head == {'ktstr_list': 1, 'n_tests': len(tests)}, result.text())
    return tests


def ends_with(box, status, program, test, *texts, **env):
    result = call(box, program, '--ktstr-run', test, **env)
    need(result.status == status, '{}: wanted status {}: {}'.format(test, status, result.text()))
    for text in texts:
        need(text.encode() in result.out, '{}: wanted {!r}: {}'.format(test, text, result.text()))


def test_lists_have_known_keys_and_all_names(box):
    names = set()
    for program in PROGRAMS:
        for test in listed(box, program):
            for key, value in test.items():
                need(type(value) is KEYS.get(key), '{}: {!r}: {!r}'.format(program, key, value))
            need(test['name'] not in names, 'twice: ' + test['name'])
            names.add(test['name'])
    need(len(names) >= 20, sorted(names))


def test_tests_pass_here(box):
    ends_with(box, PASS, 'wakeups', 'pipes', 'PASS pipes', 'metric round_trip')
    ends_with(box, PASS, 'wakeups', 'futexes', 'PASS futexes')
    ends_with(box, PASS, 'wakeups', 'timers', 'metric late_p99')
    ends_with(box, PASS, 'storm', 'forks', 'PASS forks')
    ends_with(box, PASS, 'storm', 'yields', 'PASS yields')
    ends_with(box, PASS, 'io', 'tcp', 'PASS tcp')


def test_count_of_cpus_is_the_environments(box):
    here = os.sysconf('SC_NPROCESSORS_ONLN')
    ends_with(box, PASS, 'machine', 'cpu_count', KTSTR_TOPOLOGY='1,1,{},1'.format(here))
    ends_with(box, FAIL, 'machine', 'cpu_count', '{} CPUs are online, {} were asked for'.format(here, here + 1),
              KTSTR_TOPOLOGY='1,1,{},1'.format(here + 1))


def test_fairness_is_no_failure_of_the_host(box):
    # A loaded host starves both spinners, which measures nothing; where it does not, they share.
    result = call(box, 'fairness', '--ktstr-run', 'two_spinners')
    need(result.status in (PASS, INCONCLUSIVE), result.text())


def test_every_other_end_has_its_status(box):
    ends_with(box, FAIL, 'must', 'fail', 'must.c:', 'two == 3: this check fails on purpose')
    ends_with(box, SKIP, 'must', 'skip', 'SKIP skip')
    ends_with(box, INCONCLUSIVE, 'must', 'be_inconclusive', 'INCONCLUSIVE be_inconclusive')
    ends_with(box, INCONCLUSIVE, 'must', 'do_something', 'nothing was checked or measured')
    ends_with(box, FAIL, 'must', 'not_leave', 'the test called exit(0)')
    crash = call(box, 'must', '--ktstr-run', 'crash')
    need(crash.status not in (PASS, SKIP, INCONCLUSIVE) and b'PASS' not in crash.out, crash.text())


def test_what_harms_the_machine_is_skipped(box):
    for program in PROGRAMS:
        for test in listed(box, program):
            if test.get('vm_only'):
                ends_with(box, SKIP, program, test['name'], 'it runs in a virtual machine only')


def test_unknown_test_is_an_error(box):
    result = call(box, 'must', '--ktstr-run', 'exist')
    need(result.status == USAGE and b"no test 'exist'" in result.err and not result.out, result.text())


if __name__ == '__main__':
    e2e.main([case for name, case in list(globals().items()) if name.startswith('test_')])
