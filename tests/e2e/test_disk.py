#!/usr/bin/python3
"""Disks of micro-guests through the whole program: what was flushed survives a killed VM, limits hold, copies leave
their source alone, the fast path makes no system call of its own."""
import glob
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import struct
import time

import e2e
from e2e import MIB, need

PASSED, PANIC, INFRA, BLOCK = 0, 111, 115, 4096


def disk(box, mib=64, name='disk'):
    path = box.file(name)
    with open(path, 'wb') as f:
        f.truncate(mib * MIB)
    return path


def guest(box, disk_option, words, *options):
    return ['run', '--kernel', e2e.guest('blk'), '--memory', '16', '--json', box.file('result.json'), '--disk',
            disk_option, '--append', words] + list(options)


def document(box):
    with open(box.file('result.json'), encoding='utf-8') as f:
        return json.load(f)


def run(box, disk_option, words, *options, **more):
    result = box.run(*guest(box, disk_option, words, *options), **more)
    need(result.status == PASSED, result.text())
    box.need_clean()
    return result


def digest(path):
    with open(path, 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()


def bad_block(path, n):
    """The first of @n blocks that does not hold its own number; None: all do."""
    with open(path, 'rb') as f:
        for i in range(n):
            if f.read(BLOCK) != struct.pack('<Q', i) * (BLOCK // 8):
                return i
    return None


# What was flushed.

def test_ledger_is_whole_and_counted(box):
    path = disk(box)
    for options in ('', ',buffered', ',depth=1'):
        run(box, path + options, 'ledger=64')
        need(bad_block(path, 64) is None, 'block {}'.format(bad_block(path, 64)))
        stats = document(box)['stats']
        need(stats['disk.writes'] == 64 and stats['disk.flushes'] == 8 and stats['disk.errors'] == 0, str(stats))
        need(stats['disk.in_flight_max'] == (1 if 'depth' in options else 8), str(stats))
        with open(path, 'wb') as f:
            f.truncate(64 * MIB)


def kill_in_the_middle(box, options, reactor):
    """Runs the ledger, kills its VM process at some moment; how many blocks it said were flushed."""
    path = disk(box)
    for old in glob.glob(box.file('tmp/ktstr-run-*')):
        shutil.rmtree(old)
    child = box.start(guest(box, path + options, 'ledger', '--keep'), env=box.env(KTSTR_REACTOR=reactor))
    pid = box.vm_process()
    end = time.monotonic() + 10 * e2e.SLOW
    while not any(map(os.path.getsize, glob.glob(box.file('tmp/ktstr-run-*/console.log')))):
        need(time.monotonic() < end and child.poll() is None, 'nothing was flushed')
        time.sleep(0.005)
    time.sleep(random.uniform(0, 0.2))
    os.kill(pid, signal.SIGKILL)
    result = box.finish(child)
    need(result.status == INFRA and b'signal 9' in result.err, result.text())
    folder = result.err.decode().split('artefacts are in ')[1].split('\n')[0]
    with open(os.path.join(folder, 'console.log'), encoding='ascii') as f:
        lines = f.read().split('\n')[:-1]  # what is behind the last newline may be half a number
    n = int(lines[-1]) if lines else 0
    bad = bad_block(path, n)
    need(bad is None, 'block {} of {} that were flushed is not there ({}, {})'.format(bad, n, options, reactor))
    return n


def test_flushed_blocks_survive_a_killed_vm_process(box):
    flushed = []
    for i in range(20):
        flushed.append(kill_in_the_middle(box, ('', ',buffered')[i % 2], ('', 'epoll')[i // 2 % 2]))
    print('# flushed before the kill: {}'.format(flushed))
    need(all(flushed) and len(set(flushed)) > 1, 'killed always at the same place: {}'.format(flushed))


def test_misaligned_memory_works_and_is_counted(box):
    path = disk(box)
    run(box, path, 'odd')
    is_direct = document(box)['disk']['io'] == 'direct'
    need(document(box)['stats']['disk.direct_ends'] == (1 if is_direct else 0), str(document(box)['disk']))
    run(box, path + ',buffered', 'odd')
    need(document(box)['stats']['disk.direct_ends'] == 0, str(document(box)['stats']))
    need(document(box)['disk']['why_buffered'] == 'as asked for', str(document(box)['disk']))


def test_a_limit_on_file_sizes_fails_requests_and_ends_nobody(box):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, 64 * 1024))

    path = disk(box)
    for reactor in ('', 'epoll'):
        args = guest(box, path, 'ledger=64')
        args[args.index('--json'):args.index('--json') + 2] = []
        result = box.run(*args, preexec_fn=limit, env=box.env(KTSTR_REACTOR=reactor))
        need(result.status == PANIC and b'disk: a request failed' in result.err, result.text())
    e2e.need_error(box.run(*guest(box, 'new=16M', 'reads=1'), preexec_fn=limit), INFRA, '--disk', 'File too large')
    box.need_clean()


# Limits.

def ran_ms(box):
    at = {phase['phase']: phase['ms'] for phase in document(box)['timeline']}
    return at['vm-end'] - at['vcpu-run']


def test_1000_iops_are_never_passed(box):
    """The upper side is certain on any host; the lower one only on a quiet one, so it has slack here."""
    n, burst = 1500, 10
    for reactor in ('', 'epoll'):
        run(box, disk(box) + ',iops=1000,burst={}'.format(burst), 'reads={}'.format(n),
            env=box.env(KTSTR_REACTOR=reactor), limit=60)
        rate = (n - burst) / ran_ms(box) * 1000
        stats = document(box)['stats']
        print('# {}: {:.1f} IOPS, {} waited'.format(reactor or 'default', rate, stats['disk.throttled_iops']))
        need(rate <= 1000.5, '{} IOPS'.format(rate))
        need(rate > 50, '{} IOPS'.format(rate))
        need(stats['disk.reads'] == n and stats['disk.throttled_iops'] > 0, str(stats))
        need(stats['disk.throttled_bps'] == 0, str(stats))


def test_bytes_a_second_are_never_passed(box):
    n, burst = 256, 10
    run(box, disk(box) + ',bps=1M,burst={}'.format(burst), 'reads={}'.format(n), limit=60)
    rate = (n * BLOCK - MIB * burst / 1000 - BLOCK) / ran_ms(box) * 1000
    print('# {:.4f} MiB/s'.format(rate / MIB))
    need(0.05 * MIB < rate <= 1.0005 * MIB, '{} bytes/s'.format(rate))
    need(document(box)['stats']['disk.throttled_bps'] > 0, str(document(box)['stats']))


def test_end_of_a_run_does_not_wait_for_what_is_throttled(box):
    result = box.run(*guest(box, disk(box) + ',iops=1', 'reads=1000', '--timeout', '1'))
    need(result.status == 113 and result.seconds < 5 * e2e.SLOW, result.text())
    box.need_clean()


# Copies and new disks.

def test_snapshot_leaves_its_file_alone_and_says_how(box):
    path = disk(box)
    with open(path, 'r+b') as f:
        f.write(bytes(range(256)) * 4096)
    before = digest(path)
    result = run(box, path + ',snapshot', 'ledger=64', '--timeline')
    need(digest(path) == before, 'the file was written to')
    doc = document(box)
    need(doc['disk']['source'] in ('reflink', 'copy') and doc['disk']['file'] == path, str(doc['disk']))
    need(b'ktstr: disk: ' + doc['disk']['source'].encode() in result.err, result.text())
    need(doc['stats']['disk.writes'] == 64, str(doc['stats']))
    if doc['disk']['source'] == 'copy':
        need(MIB <= doc['disk']['copied_bytes'] < 2 * MIB, str(doc['disk']))
        need(b'note: --disk: ' in result.err and b'copy of 1 MiB' in result.err, result.text())


def test_new_disk_is_empty_and_leaves_nothing(box):
    run(box, 'new=16M', 'ledger=64')
    doc = document(box)['disk']
    need(doc['source'] == 'empty' and doc['bytes'] == 16 * MIB and 'file' not in doc, str(doc))
    need(os.listdir(box.file('cache/ktstr/disks')) == [] if os.path.exists(box.file('cache/ktstr/disks')) else True,
         'left in the cache')


def test_new_file_system_is_made_once(box):
    for fs, size, tool in (('ext4', '16M', 'mke2fs'), ('btrfs', '128M', 'mkfs.btrfs')):
        if not any(os.path.exists(folder + '/' + tool) for folder in ('/sbin', '/usr/sbin', '/usr/bin')):
            raise e2e.Skip(tool + ' is not installed')
        for _ in range(2):
            run(box, 'new={},fs={}'.format(size, fs), 'reads=64')
            doc = document(box)['disk']
            need(doc['fs'] == fs and doc['source'] in ('reflink', 'copy'), str(doc))
        kept = glob.glob(box.file('cache/ktstr/disks/{}-*.raw'.format(fs)))
        need(len(kept) == 1, str(kept))


# The fast path.

def test_requests_cost_no_system_call_of_their_own(box):
    e2e.need_program('strace')
    n = 2000
    counts, env = box.file('counts'), box.env()
    env['ASAN_OPTIONS'] = env.get('ASAN_OPTIONS', '') + ':detect_leaks=0'  # which cannot be traced
    result = box.run(*guest(box, disk(box), 'reads={}'.format(n)), limit=120, env=env, wrapper=[
        'strace', '-f', '-c', '-o', counts, '-e', 'trace=!ioctl,futex'])
    need(result.status == PASSED, result.text())
    with open(counts, encoding='utf-8') as f:
        calls = {words[-1]: int(words[3]) for words in map(str.split, f) if len(words) >= 5 and words[3].isdigit()}
    if not calls.get('io_uring_enter'):
        raise e2e.Skip('no io_uring: ' + str(calls))
    print('# {} requests, {} kicks: {}'.format(n, document(box)['stats']['disk.kicks'], calls))
    need(document(box)['stats']['disk.reads'] == n, str(document(box)['stats']))
    others = {name: calls[name] for name in calls
              if name != 'io_uring_enter' and re.match('p?readv?|p?writev?|pread|pwrite|mmap|brk|madvise', name)}
    need(all(count < n / 4 for count in others.values()), str(calls))
    # A turn of the loop may find one kick or one completion; never more than one of either per request. Before it waits
    # for a completion it may submit first and look around (src/reactor/spin.h).
    need(calls['io_uring_enter'] <= 3 * n + 200, str(calls))


if __name__ == '__main__':
    e2e.need_kvm()
    e2e.main([case for name, case in list(globals().items()) if name.startswith('test_')])
