#!/usr/bin/python3
"""What a batch costs: many micro-guests through `ktstr test`, at several --jobs.

usage: bench/batch.py [--vms N] [--jobs J,J...] [--act NAME] [KTSTR [GUEST]]

Columns: VMs per second; CPU time of a VM's process; CPU time of the runner per VM, and its share of one CPU; the makespan
beside the ideal, which is all CPU time spread evenly over the CPUs; the largest resident set of a VM's process.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def write_program(path, act, n):
    """A test program, for its list only: the guest plays the tests."""
    lines = [json.dumps({'ktstr_list': 1, 'n_tests': n})]
    lines += [json.dumps({'name': '{}/{}'.format(act, i), 'memory_mib': 16}) for i in range(n)]
    with open(path, 'w', encoding='utf-8') as f:
        f.write('#!/bin/sh\ncat <<"END"\n{}\nEND\n'.format('\n'.join(lines)))
    os.chmod(path, 0o755)


def cpu_s(usage):
    return usage.ru_utime + usage.ru_stime


def measure(args, folder, jobs):
    document = os.path.join(folder, 'json')
    n_cpus = len(os.sched_getaffinity(0))
    command = [args.ktstr, 'test', '--kernel', args.guest, '--jobs', str(jobs), '--json', document,
               '--overcommit', str(max(1, jobs / n_cpus)), os.path.join(folder, 'program')]
    before = cpu_s(resource.getrusage(resource.RUSAGE_CHILDREN))
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          env=dict(os.environ, KTSTR_LOCK_DIR=os.path.join(folder, 'locks')))
    wall = time.monotonic() - began
    total = cpu_s(resource.getrusage(resource.RUSAGE_CHILDREN)) - before
    with open(document, encoding='utf-8') as f:
        tests = json.load(f)['tests']
    outcomes = {t['outcome'] for t in tests}
    if len(tests) != args.vms or len(outcomes) != 1:
        sys.exit('not all alike: {} {}\n{}'.format(len(tests), outcomes, done.stdout[-2000:].decode()))
    vms = sum(t['resources']['user_us'] + t['resources']['system_us'] for t in tests) / 1e6
    runner = total - vms
    ideal = total / n_cpus
    print('{:5d} {:9.1f} {:12.2f} {:15.3f} {:9.1f} % {:9.2f} {:9.2f} {:7.0f} % {:9.1f}'.format(
        jobs, args.vms / wall, 1e3 * vms / args.vms, 1e3 * runner / args.vms, 100 * runner / wall, wall, ideal,
        100 * (wall / ideal - 1), max(t['resources']['max_rss_kib'] for t in tests) / 1024), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--vms', type=int, default=1000)
    parser.add_argument('--jobs', default='1,2,4,8,16,32,64')
    parser.add_argument('--act', default='early_reset', help='what each guest does (tests/kvm/guests/actor.c)')
    parser.add_argument('ktstr', nargs='?', default=os.path.join(TOP, 'build/src/cli/ktstr'))
    parser.add_argument('guest', nargs='?', default=os.path.join(TOP, 'build/tests/kvm/guests/guest_actor'))
    args = parser.parse_args()
    print(' jobs     VMs/s   VM CPU, ms  runner CPU, ms  of 1 CPU   wall, s  ideal, s    over   RSS, MiB')
    with tempfile.TemporaryDirectory() as folder:
        write_program(os.path.join(folder, 'program'), args.act, args.vms)
        for jobs in args.jobs.split(','):
            measure(args, folder, int(jobs))


if __name__ == '__main__':
    main()
