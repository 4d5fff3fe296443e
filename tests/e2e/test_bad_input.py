#!/usr/bin/python3
"""Bad input, as a user meets it: each is one line that names the file or number and what to do, an exit status of its
class (64 usage, 115 our or the host's fault, 116 this host cannot), nothing left behind, and no wait.

Needs no KVM: --force passes over the question whether this host's can run Linux, and all of these end before a VM.
"""
import os
import socket
import subprocess

import e2e
from e2e import need, need_error

USAGE, INFRA, SKIP = 64, 115, 116


def refused(box, args, *texts, status=USAGE, **more):
    result = box.run('run', *args, **more)
    need_error(result, status, *texts)
    box.need_clean()
    return result


def linux(box, *args):
    """Arguments of a run of a synthetic Linux; every case here must be refused before it boots."""
    return ['--force', '--timeout', '5', '--kernel', box.file('vmlinux', e2e.elf())] + list(args)




# Kernels.

def test_kernel_missing(box):
    refused(box, ['--kernel', '/nowhere/bzImage', '--', 'true'], '/nowhere/bzImage', 'No such file')


def test_kernel_name_that_is_not_in_the_cache(box):
    refused(box, ['--kernel', '9.99-none', '--', 'true'], '9.99-none', 'ktstr kernel')


def test_kernel_bzimage_truncated(box):
    image = e2e.bzimage()
    path = box.file('bzImage', image[:len(image) // 2])
    refused(box, ['--kernel', path, '--', 'true'], path, 'truncated', str(len(image) // 2))


def test_kernel_bzimage_truncated_in_its_header(box):
    path = box.file('bzImage', e2e.bzimage()[:0x210])
    refused(box, ['--kernel', path, '--', 'true'], path, 'truncated')


def test_kernel_bzimage_damaged_payload_leaves_no_cache_entry(box):
    import gzip
    payload = bytearray(gzip.compress(e2e.elf(code=os.urandom(60000))))
    payload[len(payload) // 2] ^= 0xff
    path = box.file('bzImage', e2e.bzimage(bytes(payload)))
    refused(box, ['--force', '--kernel', path, '--', 'true'], path)
    folder = box.file('cache/ktstr/vmlinux')
    kept = [n for _d, _s, names in os.walk(folder) for n in names if n != 'lock']
    need(not kept, 'kept in the cache: {}'.format(kept))


def test_kernel_elf_truncated(box):
    path = box.file('vmlinux', e2e.elf()[:30000])
    refused(box, ['--kernel', path, '--', 'true'], path, 'truncated', '30000')


def test_kernel_arm64_image(box):
    path = box.file('Image', (b'MZ' + bytes(0x36) + b'ARM\x64').ljust(4096, b'\0'))
    refused(box, ['--kernel', path, '--', 'true'], path, 'aarch64')


def test_kernel_elf_of_other_machines(box):
    for machine, elf_class, name in ((3, 1, 'i386'), (183, 2, 'aarch64')):
        path = box.file('vmlinux', e2e.elf(machine, elf_class))
        refused(box, ['--kernel', path, '--', 'true'], path, name)


def test_kernel_that_is_no_kernel(box):
    path = box.file('text', 'just a text\n' * 100)
    refused(box, ['--kernel', path, '--', 'true'], path, 'not a kernel')


def test_kernel_empty(box):
    path = box.file('empty', b'')
    refused(box, ['--kernel', path, '--', 'true'], path, 'empty')


def test_kernel_directory(box):
    refused(box, ['--kernel', box.file('tmp'), '--', 'true'], box.file('tmp'), 'directory')


def test_kernel_fifo_does_not_block(box):
    os.mkfifo(box.file('fifo'))
    refused(box, ['--kernel', box.file('fifo'), '--', 'true'], box.file('fifo'), 'FIFO')


def test_kernel_device(box):
    refused(box, ['--kernel', '/dev/zero', '--', 'true'], '/dev/zero', 'device')


def test_kernel_name_with_a_newline_stays_one_line(box):
    refused(box, ['--kernel', '/no\nwhere', '--', 'true'], '/no?where')


def test_kernel_unreadable(box):
    e2e.need_root()
    e2e.need_program('setpriv')
    path = box.file('vmlinux', e2e.elf(), mode=0o600)
    nobody_owns(box)
    refused(box, ['--kernel', path, '--', 'true'], path, 'Permission denied', wrapper=AS_NOBODY)


AS_NOBODY = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups']


def nobody_owns(box):
    os.mkdir(box.file('locks'))
    for name in ('cache', 'tmp', 'home', 'locks'):
        os.chown(box.file(name), 65534, 65534)


# What goes into the guest.

def test_command_missing(box):
    refused(box, linux(box), 'no command given')


def test_command_that_does_not_exist(box):
    refused(box, linux(box, '--', 'no-such-command-anywhere'), 'no-such-command-anywhere')


def test_command_path_that_does_not_exist(box):
    refused(box, linux(box, '--', '/no/such/command'), '/no/such/command')


def test_command_for_a_micro_guest(box):
    path = box.file('micro', micro_guest())
    refused(box, ['--kernel', path, '--', 'true'], path, 'not a Linux kernel')


def micro_guest():
    """An ELF whose virtual addresses are physical ones: not a Linux."""
    image = bytearray(e2e.elf())
    image[64 + 16:64 + 24] = (0x1000000).to_bytes(8, 'little')
    return bytes(image)


def test_include_missing(box):
    refused(box, linux(box, '--include', '/no/such/file', '--', 'true'), '/no/such/file')


def test_include_unreadable(box):
    e2e.need_root()
    e2e.need_program('setpriv')
    secret = box.file('secret', 'x', mode=0o600)
    nobody_owns(box)
    refused(box, linux(box, '--include', secret, '--', 'true'), secret, 'Permission denied', wrapper=AS_NOBODY)


def test_include_fifo_does_not_block(box):
    os.mkfifo(box.file('fifo'))
    result = box.run('run', *linux(box, '--include', box.file('fifo'), '--memory', '2', '--', 'true'))
    need(result.status == USAGE and result.seconds < 2 * e2e.SLOW, result.text())
    box.need_clean()


def test_library_that_cannot_be_resolved(box):
    e2e.need_program('cc')
    library, program = box.file('libgone.so'), box.file('program')
    box.file('library.c', 'int gone(void) { return 0; }\n')
    box.file('program.c', 'int gone(void);\nint main(void) { return gone(); }\n')
    for command in (['cc', '-shared', '-fPIC', '-o', library, box.file('library.c')],
                    ['cc', '-o', program, box.file('program.c'), library]):
        subprocess.run(command, check=True, cwd=box.path, stderr=subprocess.DEVNULL)
    os.rename(library, library + '.away')
    refused(box, linux(box, '--', program), program, 'libgone.so')


def test_initrd_missing(box):
    refused(box, linux(box, '--initrd', '/no/such/initrd'), '--initrd', '/no/such/initrd')


def test_initrd_directory(box):
    refused(box, linux(box, '--initrd', box.file('tmp')), '--initrd', 'regular file')


def test_initrd_fifo_does_not_block(box):
    os.mkfifo(box.file('fifo'))
    refused(box, linux(box, '--initrd', box.file('fifo')), '--initrd', 'regular file')


def test_initrd_unreadable(box):
    e2e.need_root()
    e2e.need_program('setpriv')
    secret = box.file('secret', 'x', mode=0o600)
    nobody_owns(box)
    refused(box, linux(box, '--initrd', secret), '--initrd', secret, 'Permission denied', wrapper=AS_NOBODY)


def test_initrd_with_a_command(box):
    refused(box, linux(box, '--initrd', box.file('initrd', 'x'), '--', 'true'), '--initrd', 'COMMAND')


# The disk.

def disk_refused(box, path, *texts, **more):
    refused(box, linux(box, '--disk', path, '--', 'true'), '--disk', *texts, **more)


def test_disk_missing(box):
    for suffix in ('', ',ro', ',snapshot'):
        disk_refused(box, '/no/such/disk' + suffix, "'/no/such/disk'", 'No such file')


def test_disk_directory(box):
    for suffix in ('', ',ro', ',snapshot'):
        disk_refused(box, box.file('tmp') + suffix, box.file('tmp'), 'directory')


def test_disk_fifo_and_device_do_not_block(box):
    os.mkfifo(box.file('fifo'))
    for path in (box.file('fifo'), '/dev/zero'):
        disk_refused(box, path, path, 'neither a regular file nor a block device')


def test_disk_of_no_whole_sectors(box):
    for size, text in ((0, 'empty'), (511, '511'), (513, '512'), (1048577, '1048577')):
        disk_refused(box, box.file('disk', bytes(size)), box.file('disk'), text)


def test_disk_unreadable_and_unwritable(box):
    e2e.need_root()
    e2e.need_program('setpriv')
    nobody_owns(box)
    disk_refused(box, box.file('secret', bytes(512), mode=0o600), box.file('secret'), 'Permission denied',
                 wrapper=AS_NOBODY)
    disk_refused(box, box.file('readable', bytes(512), mode=0o644), box.file('readable'), ',ro',
                 'Permission denied', wrapper=AS_NOBODY)


def test_disk_in_use(box):
    import fcntl
    path = box.file('disk', bytes(1024))
    with open(path, 'rb') as disk:
        fcntl.flock(disk, fcntl.LOCK_SH)
        disk_refused(box, path, path, 'in use by another VM')
        fcntl.flock(disk, fcntl.LOCK_EX)
        disk_refused(box, path + ',ro', path, 'in use by another VM')


def test_disk_options_that_do_not_exist_or_contradict(box):
    path = box.file('disk', bytes(512))
    disk_refused(box, path + ',rw', "unknown option 'rw'", 'FILE or new=SIZE')
    disk_refused(box, path + ',', "unknown option ''")
    disk_refused(box, path + ',ro,ro', "'ro' is given twice")
    disk_refused(box, ',ro', 'no file is named')
    disk_refused(box, '', 'no file is named')
    disk_refused(box, path + ',iops=fast', "'fast' is not a whole number")
    disk_refused(box, path + ',ro,snapshot', 'exclude each other')
    disk_refused(box, 'new=1K', '1K', '1M to 16T')
    disk_refused(box, 'new=1G,fs=ntfs', "'ntfs' is neither ext4 nor btrfs")
    refused(box, linux(box, '--disk', path, '--disk', path, '--', 'true'), '--disk', 'one disk')


# The network.

def test_net_layout_that_does_not_exist(box):
    refused(box, linux(box, '--net', 'bridge', '--', 'true'), '--net', "'bridge'", 'plain', 'pair')


def test_net_pair_where_nobody_makes_it(box):
    refused(box, linux(box, '--net', 'pair', '--initrd', box.file('initrd', 'x')), '--net', '--initrd')


def test_modules_folder_missing(box):
    kernel = box.file('bzImage', e2e.bzimage())
    refused(box, ['--force', '--kernel', kernel, '--modules', '/no/such/modules', '--', 'true'], '/no/such/modules')


def test_modules_nowhere(box):
    kernel = box.file('bzImage', e2e.bzimage())
    refused(box, ['--force', '--kernel', kernel, '--', 'true'], '6.6.6-test', '--modules')


# Numbers.

def test_memory_too_small_for_kernel_and_initramfs(box):
    kernel = box.file('vmlinux', e2e.elf())
    result = refused(box, ['--force', '--kernel', kernel, '--memory', '8', '--', 'true'], '--memory 8', 'needs')
    need(b' MiB' in result.err, result.text())


def test_wrong_numbers(box):
    kernel = box.file('vmlinux', e2e.elf())
    for option, value, text in (
            ('--memory', '0', 'range'), ('--memory', '-5', 'whole number'), ('--memory', '12x', 'whole number'),
            ('--memory', '513', 'multiple of 2 MiB'), ('--hugepages', 'yes', 'off, try or require'),
            ('--memory', '', 'whole number'), ('--memory', '99999999999999999999', 'range'),
            ('--timeout', '1h', 'whole number'), ('--topology', '0,1,1,1', 'numa_nodes'),
            ('--topology', '1,1,0,1', 'cores_per_llc'), ('--topology', '1,1', 'four numbers'),
            ('--topology', '1,1,1,1,1', 'four numbers'), ('--topology', '2,1,1,1', 'NUMA'),
            ('--topology', '1,4096,4096,1', '4096'), ('--topology', '1,99999,1,1', '4096 CPUs'),
            ('--topology', '1,1,18446744073709551617,1', 'cores_per_llc'), ('--cpu', '-nosuchfeature', 'nosuchfeature'),
            ('--cpu', 'cx16', 'cx16')):
        refused(box, ['--kernel', kernel, option, value, '--', 'true'], option, text)


def test_memory_larger_than_the_host_is_a_skip_with_both_numbers(box):
    kernel = box.file('vmlinux', e2e.elf())
    with open('/proc/meminfo') as f:
        kib = {line.split(':')[0]: int(line.split()[1]) for line in f if line.split()[1].isdigit()}
    host_mib = (kib['MemTotal'] + kib['SwapTotal']) // 1024
    asked = str((host_mib // 2 + 1) * 2)
    refused(box, ['--kernel', kernel, '--memory', asked, '--', 'true'], '--memory ' + asked,
            str(kib['MemTotal'] // 1024) + ' MiB', status=SKIP)
    refused(box, ['--kernel', kernel, '--memory', str((1 << 32) - 4096), '--', 'true'], 'address bits', status=SKIP)


def test_memory_of_nodes_larger_than_the_host_is_found_before_the_kernel_is(box):
    for size, text, status in (('2048T', 'address bits', SKIP), ('4096T', 'addresses end', USAGE),
                               ('40T', 'this host has', SKIP)):
        refused(box, ['--kernel', '/nowhere/bzImage', '--topology', 'node=llcs:1;node=memory:' + size, '--', 'true'],
                text, status=status)


def test_topologies_that_cannot_be(box):
    kernel = box.file('vmlinux', e2e.elf())
    document = box.file('topology.json', '{"nodes": [{"llcs": 1, "memory": 512}]}')
    for value, text in (
            ('huge-1llc', "'huge-1llc' is neither"), ('node=llcs:0,memory:64M', 'no CPU'),
            ('node=memory:64M;node=llcs:1', 'memory-only nodes last'), ('node=llcs:1,memory:3M', 'multiple of 2 MiB'),
            ('node=llcs:1,memory:64', "'64' is no size"), ('node=llcs:1,latency_ns:70000', '70000 ns'),
            ('node=llcs:1;node=llcs:1;distances=10,20/21,10', 'node 0 to node 1 is 20, but'),
            ('node=llcs:1;node=llcs:1;distances=10,9/9,10', 'it must be 11 to 254'),
            ('65,65,1,1', '65 NUMA nodes'), ('@/no/such/file', '/no/such/file'), ('@' + document, "'512' is no size")):
        refused(box, ['--kernel', kernel, '--topology', value, '--', 'true'], '--topology', text)


def test_memory_that_does_not_go_with_the_nodes(box):
    kernel = box.file('vmlinux', e2e.elf())
    for topology, memory, text in (
            ('node=llcs:1,memory:64M', '128', 'adds up to 64 MiB'), ('4,4,1,1', '6', '2 MiB for node 0'),
            ('node=llcs:1,memory:512M;node=llcs:1', '512', 'adds up to 512 MiB')):
        refused(box, ['--kernel', kernel, '--topology', topology, '--memory', memory, '--', 'true'], '--memory', text)


def test_topo_arguments(box):
    for args, text in (
            (['--memory', '64'], '--topology'), (['--presets', '--topology', '1,1,1,1'], '--presets'), (['--nope'], "'--nope'"),
            (['--topology', '1,1,1'], 'four numbers'), (['--topology', '1,1,1,1', 'x'], "'x'"),
            (['--topology', '1,1,1,1', '--memory', '0'], '--memory'), (['--presets', '--memory', '64'], '--presets')):
        need_error(box.run('topo', *args), USAGE, text)


def test_options_that_do_not_exist(box):
    for option in ('--nope', '-x', '-xy'):
        refused(box, [option, '--', 'true'], "'" + option[:2 if option[1] != '-' else None])
    refused(box, ['--memory'], "'--memory'", 'value')
    refused(box, ['--relay', 'relative.sock', '--', 'true'], '--relay', 'relative.sock')


def test_bench_options(box):
    for args, texts in ((['bench'], ['what to measure', 'blk']), (['bench', 'cpu'], ["'cpu'", 'blk, net and batch']),
                        (['bench', 'blk', 'net'], ["'net'", 'one suite']), (['bench', 'blk', '--runs', '0'], ['--runs']),
                        (['bench', 'blk', '--seconds', 'x'], ['--seconds', "'x'"]),
                        (['bench', 'blk', '--seconds', '0'], ['--seconds: 0 is not']),
                        (['bench', 'blk', '--seconds', 'nan'], ['--seconds']),
                        (['bench', 'blk', '--size', '12k'], ['--size', '12k']),
                        (['bench', 'blk', '--file', 'x', '--dir', 'y'], ['--file', '--dir']),
                        (['bench', 'blk', '--file', 'x', '--size', '4'], ['--file', '--size']),
                        (['bench', 'net', '--file', 'x'], ['--file', 'blk']),
                        (['bench', 'net', '--size', '4'], ['--size', 'blk']),
                        (['bench', 'net', '--dir', '.'], ['--dir', 'blk']),
                        (['bench', 'net', '--fio', 'fio'], ['--fio', 'blk']),
                        (['bench', 'batch', '--qemu', 'qemu'], ['--qemu', 'blk']),
                        (['bench', 'batch', '--size', '4'], ['--size', 'blk']),
                        (['bench', 'blk', '--vms', '4'], ['--vms', 'batch']),
                        (['bench', 'net', '--jobs', '4'], ['--jobs', 'batch']),
                        (['bench', 'batch', '--jobs', '0,1'], ['--jobs', "'0,1'"]),
                        (['bench', 'batch', '--jobs', '4097'], ['--jobs', '4096']),
                        (['bench', 'batch', '--jobs', ''], ['--jobs']),
                        (['bench', 'batch', '--vms', '0'], ['--vms']),
                        (['bench', 'blk', '--nope'], ["'--nope'"]), (['bench', 'blk', '--runs'], ["'--runs'", 'value']),
                        (['bench', 'blk', '--qemu', '/nowhere/qemu'], ['--qemu', '/nowhere/qemu']),
                        (['bench', 'blk', '--fio', 'no-such-fio'], ['--fio', 'no-such-fio']),
                        (['bench', 'blk', '--json', '/no/such/folder/x'], ['/no/such/folder/x'])):
        need_error(box.run(*args), USAGE, *texts)
        box.need_clean()


# Places to write to.

def test_dmesg_path_unwritable(box):
    refused(box, linux(box, '--dmesg', '/no/such/folder/log', '--', 'true'), '--dmesg', '/no/such/folder/log')


def test_json_path_unwritable_is_told_before_the_run(box):
    for path, text in (('/no/such/folder/result', 'No such file'), (box.file('tmp'), 'directory'),
                       ('/proc/result', '/proc/result')):
        refused(box, linux(box, '--json', path, '--', 'true'), '--json', path, text)


def test_relay_path_taken(box):
    path = box.file('relay.sock')
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(path)
        refused(box, linux(box, '--relay', '/run/x.sock:' + path, '--', 'true'), '--relay', path, 'in use')
    need(os.path.exists(path), "another's socket was removed")


def test_home_unset(box):
    env = box.env(HOME=None, XDG_CACHE_HOME=None)
    refused(box, ['--kernel', box.file('vmlinux', e2e.elf()), '--', 'true'], 'HOME', 'XDG_CACHE_HOME', env=env)


def test_cache_is_a_file(box):
    env = box.env(XDG_CACHE_HOME=box.file('file', 'x'))
    refused(box, linux(box, '--', 'true'), box.file('file'), status=INFRA, env=env)


def test_cache_disk_full(box):
    """Whatever step meets the full disk says so, and takes its part of a file away."""
    e2e.need_root()
    e2e.need_program('unshare')
    kernel = box.file('bzImage', e2e.bzimage())
    modules = box.file('vmlinux', e2e.elf())
    for path in (kernel, modules):
        script = ('mount -t tmpfs -o size=100k none "$XDG_CACHE_HOME" || exit 99; "$@"; s=$?; '
                  'find "$XDG_CACHE_HOME" -type f ! -name kvm-probe >&3; exit $s')
        read, write = os.pipe()
        result = box.run('run', '--force', '--timeout', '5', '--kernel', path, '--', 'true',
                         wrapper=['unshare', '-m', 'sh', '-c', script.replace('>&3', '>&{}'.format(write)), 'sh'],
                         pass_fds=[write])
        os.close(write)
        with os.fdopen(read, encoding='utf-8') as f:
            left = f.read().split()
        need(result.status != 99, 'mount: ' + result.text())
        need_error(result, INFRA, 'No space left')
        need(not [name for name in left if e2e_is_partial(name)], 'left in the cache: {}'.format(left))


def e2e_is_partial(name):
    return '.tmp' in name or os.path.getsize(name) == 0 if os.path.exists(name) else len(name.rpartition('.')[2]) == 6


def test_reactor_unknown(box):
    refused(box, linux(box, '--', 'true'), 'bogus', 'uring', 'epoll', env=box.env(KTSTR_REACTOR='bogus'))


# The host's KVM: nothing of a VM exists yet, so these need none either.

def without_kvm(box, device):
    """A wrapper under which /dev has only null and, if @device, that as /dev/kvm."""
    e2e.need_root()
    e2e.need_program('unshare')
    make = {'null': 'mknod /dev/kvm c 1 3', 'none': ':', 'private': 'mknod -m 600 /dev/kvm c 10 232'}[device]
    script = 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && {} && exec "$@"'.format(make)
    return ['unshare', '-m', 'sh', '-c', script, 'sh']


def both_kernels(box):
    return [['--kernel', box.file('micro', micro_guest())],
            ['--kernel', box.file('vmlinux', e2e.elf()), '--', 'true']]


def test_kvm_missing(box):
    for args in both_kernels(box):
        result = box.run('run', *args, wrapper=without_kvm(box, 'none'))
        need(result.status == SKIP and b'/dev/kvm does not exist' in result.err, result.text())
        need(result.err.count(b'\n') == 1, result.text())
        box.need_clean()


def test_bench_without_kvm(box):
    result = box.run('bench', 'net', wrapper=without_kvm(box, 'none'))
    need_error(result, SKIP, '/dev/kvm does not exist')
    box.need_clean()


def test_kvm_that_is_another_device(box):
    for args in both_kernels(box):
        result = box.run('run', *args, wrapper=without_kvm(box, 'null'))
        need(result.status == SKIP and b'/dev/kvm is not KVM' in result.err, result.text())
        need(result.err.count(b'\n') == 1, result.text())
        box.need_clean()


def test_kvm_not_permitted(box):
    e2e.need_program('setpriv')
    wrapper = without_kvm(box, 'private') + AS_NOBODY
    nobody_owns(box)
    for args in both_kernels(box):
        result = box.run('run', *args, wrapper=wrapper)
        need(result.status == SKIP and b'/dev/kvm: permission denied' in result.err and b'kvm' in result.err,
             result.text())
        need(result.err.count(b'\n') == 1, result.text())
        box.need_clean()


def test_doctor_without_kvm_says_so(box):
    result = box.run('doctor', wrapper=without_kvm(box, 'none'))
    need(result.status == SKIP and b'/dev/kvm does not exist' in result.out, result.text())


def test_unknown_commands(box):
    for args in (['nope'], ['kernel', 'nope'], ['doctor', '--nope'], []):
        result = box.run(*args)
        need(result.status == USAGE and b'usage:' in result.err and not result.out, result.text())


def test_kernel_add_of_bad_files_leaves_no_entry(box):
    for data in (b'text', e2e.bzimage()[:2200], e2e.elf(183)):
        result = box.run('kernel', 'add', box.file('file', data))
        need_error(result, USAGE, box.file('file'))
        box.need_clean()
    result = box.run('kernel', 'list')
    need(result.status == 0 and not result.out, result.text())



# Batches.

def lists(box, name='program', n=1):
    text = ['echo \'{{"ktstr_list":1,"n_tests":{}}}\''.format(n)]
    text += ['echo \'{{"name":"t/{}"}}\''.format(i) for i in range(n)]
    return box.file(name, '#!/bin/sh\n' + '\n'.join(text) + '\n', 0o755)


def test_batch_options(box):
    path = lists(box)
    for args, texts in (([], ['no test program given']), (['--jobs', '0', path], ['--jobs', '0']),
                        (['--jobs', 'x', path], ['--jobs', 'x']), (['--shard', '3/2', path], ['--shard', '3/2', 'I/N']),
                        (['--shard', '0/2', path], ['--shard']), (['--shard', '1', path], ['--shard']),
                        (['--shard', '1/2/3', path], ['--shard']), (['--overcommit', '0.5', path], ['--overcommit', '0.5']),
                        (['--overcommit', 'nan', path], ['--overcommit', 'nan']),
                        (['--overcommit', ' 2', path], ['--overcommit', "' 2'"]), (['--repeat', '0', path], ['--repeat']),
                        (['--retries', '-1', path], ['--retries']), (['--timeout', '0', path], ['--timeout']),
                        (['--seed', 'x', path], ['--seed']), (['--memory', '1', path], ['--memory']),
                        (['--nonsense', path], ['--nonsense', '--help']), (['-x', path], ["'-x'"]),
                        (['--filter'], ['--filter', 'value']),
                        (['--json', '/nowhere/x', path], ['--json', '/nowhere/x']),
                        (['--junit', '/nowhere/x', path], ['--junit', '/nowhere/x']),
                        (['--tap', box.path, path], ['--tap', box.path]),
                        (['--json', '-', '--tap', '-', path], ['standard output']),
                        (['--json', 'x', '--tap', box.file('tmp/../x'), path], ['--json and --tap', 'one file']),
                        (['--output', '/dev/null/x', path], ['--output', '/dev/null']),
                        (['--output', box.path, path], ['--output', 'not empty'])):
        result = box.run('test', *args)
        need_error(result, USAGE, *texts)
    box.need_clean()


def test_batch_words_of_strangers_reach_no_terminal_raw(box):
    """In the name of a program, and in what it prints in place of a list."""
    odd = lists(box, 'a\x1b[31m\nb')
    bad = box.file('bad', '#!/bin/sh\nprintf "x\\033[31mx\\n"\n', 0o755)
    result = box.run('test', '--list', odd, bad)
    need(result.status == 1 and b'\x1b' not in result.out + result.err, result.text())
    need(len(result.out.splitlines()) == 1 and result.out.endswith(b' b/t/0\n'), result.text())
    need(len(result.err.splitlines()) == 1 and b'x?[31mx' in result.err, result.text())


def test_batch_program_that_is_not_there(box):
    need_error(box.run('test', '/nowhere/program'), USAGE, '/nowhere/program', 'No such file')
    need_error(box.run('test', box.file('data', 'text')), USAGE, 'data', 'Permission denied')
    need_error(box.run('test', box.path), USAGE, box.path, 'no file')


def test_batch_kernel(box):
    need_error(box.run('test', '--kernel', '/nowhere/bzImage', lists(box)), USAGE, '/nowhere/bzImage', 'No such file')


def test_vm_process_by_hand(box):
    need_error(box.run('vmm'), USAGE, 'ktstr vmm', 'ktstr test')


if __name__ == '__main__':
    e2e.main([case for name, case in list(globals().items()) if name.startswith('test_')])
