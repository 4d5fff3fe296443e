#!/usr/bin/python3
"""Watches the VM processes of a runner until it is gone, from outside: do two VMs' vCPUs ever have a CPU in common?

usage: watch_cpus.py PID

One line at the end: "N looks, at most M VMs at once, K clashes", behind a line for each clash. Promises aside, vCPUs may run
wherever their affinity lets them, so that is what counts. A VM that ends while it is looked at is looked at in vain.
"""
import os
import sys
import time


def read(path):
    with open(path, encoding='ascii', errors='replace') as f:
        return f.read()


def cpus_of(vm):
    """The CPUs that the vCPU threads of a VM process may use; None: it has none yet, or is not there any more."""
    cpus = set()
    try:
        for task in os.listdir('/proc/{}/task'.format(vm)):
            if read('/proc/{}/task/{}/comm'.format(vm, task)).startswith('vcpu'):
                cpus |= os.sched_getaffinity(int(task))
    except OSError:
        return None
    return cpus or None


def children(pid):
    try:
        return [int(child) for child in read('/proc/{0}/task/{0}/children'.format(pid)).split()]
    except OSError:
        return []


def main():
    runner = int(sys.argv[1])
    looks, most, clashes = 0, 0, set()
    while os.path.exists('/proc/{}/exe'.format(runner)):
        places = {vm: cpus_of(vm) for vm in children(runner)}
        places = {vm: cpus for vm, cpus in places.items() if cpus}
        looks, most = looks + 1, max(most, len(places))
        for a in places:
            for b in places:
                # Once more: one may have ended, and the other have begun, in between.
                if a < b and places[a] & places[b] and cpus_of(a) and cpus_of(b):
                    clashes.add((a, b, str(places[a]), str(places[b])))
        time.sleep(0.1)
    for clash in sorted(clashes):
        print('clash: {} and {}: {} and {}'.format(*clash))
    print('{} looks, at most {} VMs at once, {} clashes'.format(looks, most, len(clashes)))


main()
