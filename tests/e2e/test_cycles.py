#!/usr/bin/python3
"""Endurance: hundreds of micro-guests, one after the other. None hangs, none loses its last result, nothing stays."""
import json
import os
import time

import e2e
from e2e import MIB, need

CYCLES = 200
RESULTS = 80  # and 20 in the lab, in a real Linux


def leftovers():
    """What ktstr could leave outside of the sandbox."""
    left = set()
    for folder in ('/tmp', '/var/tmp', '/dev/shm', '/run'):
        try:
            left |= {os.path.join(folder, name) for name in os.listdir(folder) if name.startswith('ktstr-r')}
        except OSError:
            continue
    return left


def listing(folder):
    return sorted(os.path.join(d, n) for d, _s, names in os.walk(folder) for n in names)


def test_200_starts_and_stops_leave_nothing(box):
    before, cache, slowest = leftovers(), None, 0
    for i in range(CYCLES):
        name = 'smp' if i % 40 == 0 else ('hello', 'flat')[i % 2]
        args = ['run', '--kernel', e2e.guest(name), '--memory', '16']
        if name == 'smp':
            args += ['--topology', '1,1,2,1']
        result = box.run(*args)
        need(result.status == 0 and not result.err, 'cycle {} ({}): {}'.format(i, name, result.text()))
        slowest = max(slowest, result.seconds)
        if cache is None:
            cache = listing(box.file('cache'))
    box.need_clean()
    need(leftovers() == before, 'left: {}'.format(leftovers() - before))
    need(listing(box.file('cache')) == cache, 'the cache grew: {}'.format(listing(box.file('cache'))))
    print('# slowest of {}: {:.3f} s'.format(CYCLES, slowest))


def test_80_last_results_of_a_mib_arrive(box):
    frames, path = box.file('frames', e2e.frames()), box.file('result.json')
    lost, began = [], time.monotonic()
    for i in range(RESULTS):
        words = ('send', 'send event_idx', 'send irq', 'send irq event_idx')[i % 4]
        result = box.run('run', '--kernel', e2e.guest('console'), '--memory', '32', '--initrd', frames,
                         '--append', words, '--json', path)
        with open(path, encoding='utf-8') as f:
            document = json.load(f)
        os.unlink(path)
        if result.status != 7 or result.out != b'output\n' or document['result_bytes'] != MIB or result.err:
            lost.append('{} ({}): {} {}'.format(i, words, document['result_bytes'], result.text()))
    need(not lost, '{} of {} lost: {}'.format(len(lost), RESULTS, '\n'.join(lost[:3])))
    box.need_clean()
    print('# {} runs in {:.1f} s'.format(RESULTS, time.monotonic() - began))


def test_8_at_a_time_do_not_disturb_each_other(box):
    """Runs that share a host and a cache: each has its own result."""
    frames = box.file('frames', e2e.frames())
    for _ in range(3):
        children = [box.start(['run', '--kernel', e2e.guest('console'), '--memory', '32', '--initrd', frames,
                               '--append', 'send irq event_idx']) for _ in range(8)]
        for child in children:
            result = box.finish(child)
            need(result.status == 7 and result.out == b'output\n', result.text())
    box.need_clean()


if __name__ == '__main__':
    e2e.need_kvm()
    e2e.main([case for name, case in list(globals().items()) if name.startswith('test_')])
