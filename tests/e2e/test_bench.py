#!/usr/bin/python3
"""`ktstr bench`: its document's shape and what must be true on any host, loaded or not. No figure is judged.

QEMU and fio take part where they are installed.
"""
import json
import os
import shutil
import signal
import time

import e2e
from e2e import need, need_error

PASSED, USAGE, INTERRUPTED = 0, 64, 130
SHORT = ['--seconds', '0.05']
WITHOUT = ['--qemu', '', '--fio', '']
MACHINES = {'ktstr', 'ktstr_epoll', 'ktstr_one', 'qemu'}
OURS = MACHINES - {'qemu'}
CPU = {'vmm_cpu_us', 'vcpu_cpu_us', 'per_cpu_s'}
DIST = {'p50', 'p90', 'min', 'max', 'n', 'samples'}


def measured(box, *args, limit=120):
    path = box.file('bench.json')
    result = box.run('bench', *args, '--json', path, limit=limit)
    need(result.status == PASSED, result.text())
    box.need_clean()
    with open(path, encoding='utf-8') as f:
        return result.out.decode(), json.load(f)


def check_dist(value, n, metric, where):
    if value is None:
        return
    # A thread that ends while /proc is read takes its CPU time along: that run has no such sample.
    is_complete = value['n'] == n or (metric in CPU and value['n'] < n)
    need(set(value) == DIST and is_complete and value['n'] == len(value['samples']), '{}: {}'.format(where, value))
    need(value['min'] <= value['p50'] <= value['max'], '{}: {}'.format(where, value))


def check_machine(m, is_polling, seconds, where):
    for key in ('per_s', 'p50_us', 'p99_us'):
        need(m[key] and m[key]['min'] > 0, '{}: {}: {}'.format(where, key, m[key]))
    for p50, p99 in zip(m['p50_us']['samples'], m['p99_us']['samples']):
        need(p50 <= p99, '{}: p50 {} > p99 {}'.format(where, p50, p99))
    # An interrupt is two exits; a request has one at most, and those on their way at the begin have theirs, too.
    for exits, rate in zip(m['exits']['samples'], m['per_s']['samples']):
        limit = 0 if is_polling else 2 * (1 + 40 / (rate * seconds))
        need(0 <= exits <= limit, '{}: {} exits at {}/s'.format(where, exits, rate))


def check_document(doc, suite, n):
    need(doc['version'] == 1 and doc['suite'] == suite and doc['runs'] == n, str(doc)[:200])
    need({'cpus', 'kernel', 'machine', 'load'} == set(doc['machine']), str(doc['machine']))
    for key, variants in doc['workloads'].items():
        need({'ktstr', 'ktstr_epoll'} <= set(variants), '{}: {}'.format(key, list(variants)))
        for name, metrics in variants.items():
            where = '{}, {}'.format(key, name)
            for metric, value in metrics.items():
                check_dist(value, n, metric, where + ', ' + metric)
            if name in MACHINES:
                check_machine(metrics, key.endswith('-poll'), doc['seconds'], where)
            if name in OURS:
                need(metrics['kick_exits']['max'] == 0, where + ': kicks exit: ' + str(metrics['kick_exits']))
    for ratio in doc['ratios']:
        need(ratio['workload'] in doc['workloads'] and isinstance(ratio['at_least'], bool), str(ratio))


def test_blk_measures_everybody_who_is_there(box):
    text, doc = measured(box, 'blk', '--runs', '1', '--size', '16', *SHORT)
    check_document(doc, 'blk', 1)
    variants = set(doc['workloads']['randread-4k-32-poll'])
    need('ktstr_one' in variants, str(variants))
    if shutil.which('fio'):
        need('fio_uring' in variants and 'host: fio io_uring' in text, str(variants))
    else:
        need('Without fio' in text, text)
    need(('qemu' in variants) == (doc['qemu'] is not None), str(variants))
    need('where one request' in text and 'MSI-X' in text, text)
    need(doc['request_us']['ktstr']['all'] > 0, str(doc['request_us']))


def test_blk_without_company(box):
    text, doc = measured(box, 'blk', '--runs', '2', '--size', '4', *SHORT, *WITHOUT)
    check_document(doc, 'blk', 2)
    need('Without QEMU' in text and 'Without fio' in text, text)
    need(doc['qemu'] is None and doc['qemu_aio'] is None, str(doc['qemu']))
    for variants in doc['workloads'].values():
        need(set(variants) <= OURS, str(variants))


def test_blk_reads_a_file_that_exists_and_leaves_it_alone(box):
    data = os.urandom(1 << 20)
    path = box.file('image', data)
    _text, doc = measured(box, 'blk', '--file', path, '--runs', '1', *SHORT, *WITHOUT)
    check_document(doc, 'blk', 1)
    with open(path, 'rb') as f:
        need(f.read() == data, 'the file was changed')


def test_net_measures_everybody_who_is_there(box):
    _text, doc = measured(box, 'net', '--runs', '1', *SHORT)
    check_document(doc, 'net', 1)
    for variants in doc['workloads'].values():
        need('ktstr_one' not in variants, str(list(variants)))
    rate = doc['workloads']['65550-32-poll']['ktstr']
    need(abs(rate['mb_per_s']['p50'] / (rate['per_s']['p50'] * 65550 / 1e6) - 1) < 0.01, str(rate))


def test_document_on_standard_output_is_all_there_is(box):
    result = box.run('bench', 'net', '--runs', '1', *SHORT, *WITHOUT, '--json', '-', limit=60)
    need(result.status == PASSED and not result.err, result.text())
    check_document(json.loads(result.out), 'net', 1)


def test_interrupt_ends_it_and_leaves_nothing(box):
    for args in (['--fio', ''], ['--qemu', '']):
        child = box.start(['bench', 'blk', '--size', '4', '--seconds', '100'] + args)
        time.sleep(1)
        need(child.poll() is None, 'ended early: ' + str(child.poll()))
        os.kill(child.pid, signal.SIGINT)
        result = box.finish(child)
        need(result.status == INTERRUPTED and not result.out, result.text())
        box.need_clean()


def named(box, name):
    for pid in box.processes():
        try:
            with open('/proc/{}/comm'.format(pid), encoding='utf-8') as f:
                if f.read().strip() == name:
                    return True
        except OSError:
            continue
    return False


def test_interrupt_ends_fio_too(box):
    e2e.need_program('fio')
    child = box.start(['bench', 'blk', '--size', '4', '--seconds', '4', '--qemu', ''])
    end = time.monotonic() + 60 * e2e.SLOW
    while not named(box, 'fio'):
        need(child.poll() is None and time.monotonic() < end, 'fio did not start')
        time.sleep(0.02)
    time.sleep(1.5)  # it reads
    os.kill(child.pid, signal.SIGTERM)
    result = box.finish(child)
    need(result.status == 128 + signal.SIGTERM and not result.out, result.text())
    box.need_clean(grace_s=0.5)  # it would end by itself later


def test_killed_bench_takes_what_it_measures_along(box):
    child = box.start(['bench', 'blk', '--size', '4', '--seconds', '100', '--qemu', '', '--fio', ''])
    box.vm_process()
    child.kill()
    child.communicate()
    end = time.monotonic() + 5 * e2e.SLOW
    while box.processes():
        need(time.monotonic() < end, 'still there: ' + str(box.processes()))
        time.sleep(0.02)
    for path in box.temporaries():
        os.unlink(path)  # nobody was left to do it


BATCH = {'vms_per_s', 'vms_per_s_per_cpu', 'vm_cpu_ms', 'runner_cpu_ms', 'runner_percent', 'wall_s', 'ideal_s',
         'over_percent', 'other_percent', 'idle_percent', 'max_rss_kib'}
ASLEEP = {'pss_kib', 'rss_kib', 'io_wakeups_per_s', 'runner_wakeups_per_s', 'cpu_ms_per_s'}
FEW_VMS = ['--vms', '6', '--jobs', '1,3', '--seconds', '0.5']


def check_batch(doc, n):
    need(doc['version'] == 1 and doc['suite'] == 'batch' and doc['runs'] == n and doc['vms'] == 6, str(doc)[:200])
    need(set(doc['workloads']) == {'jobs-1', 'jobs-3'}, str(list(doc['workloads'])))
    for key, variants in doc['workloads'].items():
        metrics = variants['ktstr']
        need(set(metrics) == BATCH, str(list(metrics)))
        for name, value in metrics.items():
            check_dist(value, n, name, '{}, {}'.format(key, name))
        for rate, wall in zip(metrics['vms_per_s']['samples'], metrics['wall_s']['samples']):
            need(abs(rate * wall - 6) < 0.01, '{}: {} x {}'.format(key, rate, wall))
        for name in ('vm_cpu_ms', 'runner_cpu_ms', 'max_rss_kib'):
            need(metrics[name]['min'] > 0, '{}: {}'.format(key, metrics[name]))
    need(set(doc['idle']) == ASLEEP and doc['idle']['pss_kib']['min'] > 0, str(doc['idle']))
    need({a['metric'] for a in doc['aims']} == {'vms_per_s_per_cpu', 'runner_percent', 'over_percent',
                                                'io_wakeups_per_s'}, str(doc['aims']))
    need(doc['best_jobs'] in (1, 3), str(doc['best_jobs']))


def test_batch_measures_rate_makespan_and_memory(box):
    text, doc = measured(box, 'batch', '--runs', '2', *FEW_VMS)
    check_batch(doc, 2)
    need('6 VMs of micro-guests' in text and 'VMs whose guests sleep' in text and 'aims, at --jobs' in text, text)


def test_vms_that_sleep_wake_nobody_up(box):
    """A VM without work costs nothing: counted from outside, on any host and under any load."""
    _text, doc = measured(box, 'batch', '--runs', '1', '--vms', '1', '--jobs', '1', '--seconds', '3')
    asleep = doc['idle']
    need(asleep['io_wakeups_per_s']['max'] == 0, str(asleep))
    need(asleep['runner_wakeups_per_s']['max'] == 0, str(asleep))


def test_batch_document_on_standard_output_is_all_there_is(box):
    result = box.run('bench', 'batch', '--runs', '1', *FEW_VMS, '--json', '-', limit=60)
    need(result.status == PASSED and not result.err, result.text())
    check_batch(json.loads(result.out), 1)


def test_document_is_there_when_the_table_cannot_be_written(box):
    with open('/dev/full', 'wb') as full:
        result = box.run('bench', 'batch', '--runs', '1', *FEW_VMS, '--json', box.file('json'), limit=60, stdout=full)
    need(result.status == 115 and b'standard output' in result.err, result.text())
    with open(box.file('json'), encoding='utf-8') as f:
        check_batch(json.load(f), 1)


def test_interrupt_ends_a_batch_in_either_part(box):
    for args in (['--vms', '100000', '--jobs', '2'], ['--vms', '1', '--jobs', '1', '--seconds', '100']):
        child = box.start(['bench', 'batch'] + args)
        box.vm_process()
        time.sleep(1)
        need(child.poll() is None, 'ended early: ' + str(child.poll()))
        os.kill(child.pid, signal.SIGINT)
        result = box.finish(child)
        need(result.status == INTERRUPTED and not result.out, result.text())
        box.need_clean()


def test_files_that_cannot_be_measured(box):
    os.mkfifo(box.file('fifo'))
    for args, text in ((['--file', '/nowhere/disk'], '/nowhere/disk'), (['--dir', '/nowhere'], '/nowhere'),
                       (['--dir', '/proc'], '/proc'), (['--file', box.file('fifo')], box.file('fifo')),
                       (['--file', '/dev/null'], '/dev/null'), (['--file', box.file('tmp')], box.file('tmp')),
                       (['--file', box.file('empty', b'')], box.file('empty')),
                       (['--file', box.file('odd', bytes(70001))], box.file('odd')),
                       (['--file', box.file('small', bytes(32768))], '64 KiB')):
        result = box.run('bench', 'blk', *args, *WITHOUT)
        need_error(result, USAGE, text)
        box.need_clean()


if __name__ == '__main__':
    e2e.need_kvm()
    e2e.main([case for name, case in list(globals().items()) if name.startswith('test_')])
