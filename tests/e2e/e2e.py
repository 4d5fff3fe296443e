"""What the end-to-end tests share: runs of ktstr under watch, files to feed it, results as TAP lines.

Every run gets a cache, a TMPDIR and a mark in its environment of its own, so that what it leaves behind is seen: the
mark finds processes that outlived it, whatever they call themselves.
"""
import gzip
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get('KTSTR_BUILD', os.path.join(ROOT, 'build'))
KTSTR = os.path.join(BUILD, 'src/cli/ktstr')
GUESTS = os.path.join(BUILD, 'tests/kvm/guests')
MARK = 'KTSTR_E2E_MARK'
# Instrumented builds, and the lab, are slower; limits that are not about speed scale with it.
SLOW = float(os.environ.get('KTSTR_TEST_SLOW', '2'))


class Skip(Exception):
    """This host cannot run the case."""


class Failure(Exception):
    """The case found something wrong."""


def need(condition, text):
    if not condition:
        raise Failure(text)


class Result:
    def __init__(self, status, out, err, seconds):
        self.status, self.out, self.err, self.seconds = status, out, err, seconds

    def text(self):
        return 'status {}, {:.2f} s\nstdout: {!r}\nstderr: {}'.format(
            self.status, self.seconds, self.out[-2000:], self.err.decode(errors='replace')[-4000:])


class Sandbox:
    """One case's folder: cache/, tmp/, and what the case puts there."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix='ktstr-e2e-', dir='/var/tmp')
        os.chmod(self.path, 0o755)
        for name in ('cache', 'tmp', 'home'):
            os.mkdir(self.file(name))
        self.mark = os.path.basename(self.path)

    def file(self, name, data=None, mode=0o644):
        path = os.path.join(self.path, name)
        if data is not None:
            with open(path, 'wb') as f:
                f.write(data if isinstance(data, bytes) else data.encode())
            os.chmod(path, mode)
        return path

    def env(self, **more):
        env = {'PATH': os.environ['PATH'], 'HOME': self.file('home'), 'XDG_CACHE_HOME': self.file('cache'),
               'TMPDIR': self.file('tmp'), 'KTSTR_LOCK_DIR': self.file('locks'), MARK: self.mark}
        for name, value in os.environ.items():
            if name.endswith('SAN_OPTIONS'):
                env[name] = value
        for name, value in more.items():
            if value is None:
                env.pop(name, None)
            else:
                env[name] = value
        return env

    def start(self, args, env=None, wrapper=(), **more):
        more = dict({'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}, **more)
        return subprocess.Popen(list(wrapper) + [KTSTR] + list(args), env=env or self.env(), cwd=self.path,
                                start_new_session=True, **more)

    def run(self, *args, limit=20, **more):
        """Runs ktstr to its end; a run that does not end in @limit seconds is killed and fails the case."""
        began = time.monotonic()
        child = self.start(args, **more)
        return self.finish(child, began, limit)

    def finish(self, child, began=None, limit=20):
        began = began or time.monotonic()
        try:
            out, err = child.communicate(timeout=limit * SLOW)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            out, err = child.communicate()
            raise Failure('no end after {} s: {}'.format(
                limit * SLOW, Result(None, out or b'', err or b'', time.monotonic() - began).text())) from None
        return Result(child.returncode, out or b'', err or b'', time.monotonic() - began)

    def processes(self):
        """Ids of live processes that carry this case's mark; this one does not."""
        found, wanted = [], '{}={}'.format(MARK, self.mark).encode()
        for name in os.listdir('/proc'):
            if not name.isdigit():
                continue
            try:
                with open('/proc/{}/environ'.format(name), 'rb') as f:
                    marked = wanted in f.read().split(b'\0')
                if marked:
                    found.append(int(name))
            except OSError:
                continue
        return found

    def vm_process(self, limit=10):
        """The id of the VM process of the run under way."""
        end = time.monotonic() + limit * SLOW
        while time.monotonic() < end:
            for pid in self.processes():
                try:
                    with open('/proc/{}/comm'.format(pid), encoding='utf-8') as f:
                        if f.read().strip() == 'ktstr-vm':
                            return pid
                except OSError:
                    continue
            time.sleep(0.01)
        raise Failure('no VM process appeared')

    def temporaries(self):
        """Files that only a run under way should have: names with a random end, and whatever is in TMPDIR."""
        left = [os.path.join(self.file('tmp'), name) for name in os.listdir(self.file('tmp'))]
        for folder, folders, files in os.walk(self.file('cache')):
            for name in folders + files:
                stem, _dot, end = name.rpartition('.')
                if stem and len(end) == 6 and end.isalnum() and not end.isdigit() or name.startswith('.tmp'):
                    left.append(os.path.join(folder, name))
        return left

    def need_clean(self, grace_s=2):
        """No process and no temporary file of the run is left, a moment after its end (a VM's teardown)."""
        end = time.monotonic() + grace_s * SLOW
        while self.processes() and time.monotonic() < end:
            time.sleep(0.01)
        need(not self.processes(), 'processes left: {}'.format(
            [open('/proc/{}/comm'.format(p), encoding='utf-8').read() for p in self.processes()]))
        need(not self.temporaries(), 'files left: {}'.format(self.temporaries()))

    def close(self):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        shutil.rmtree(self.path, ignore_errors=True)


def need_error(result, status, *texts, within_s=2):
    """@result is a refusal: this status, one line on stderr that holds @texts, nothing on stdout, quickly."""
    need(result.status == status, 'wanted status {}: {}'.format(status, result.text()))
    lines = result.err.decode(errors='replace').splitlines()
    need(len(lines) == 1 and lines[0].startswith('ktstr: '), 'wanted one line on stderr: ' + result.text())
    for text in texts:
        need(text in lines[0], 'wanted {!r} on stderr: {}'.format(text, result.text()))
    need(not result.out, 'wanted nothing on stdout: ' + result.text())
    need(result.seconds < within_s * SLOW, 'slow: ' + result.text())


# Files to feed it.

def guest(name):
    path = os.path.join(GUESTS, 'guest_' + name)
    need(os.path.exists(path), 'not built: ' + path)
    return path


def elf(machine=62, elf_class=2, code=b'\xf4\xeb\xfd', size=80 * 1024):
    """A vmlinux without a release (so that it asks for no modules): one segment at 16 MiB that halts for ever."""
    ident = b'\x7fELF' + bytes([elf_class, 1, 1]) + bytes(9)
    header = ident + struct.pack('<HHIQQQIHHHHHH', 2, machine, 1, 0x1000000, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack('<IIQQQQQQ', 1, 7, 4096, 0xffffffff81000000, 0x1000000, size, size, 4096)
    return (header + segment).ljust(4096, b'\0') + code.ljust(size, b'\x90')


def bzimage(payload=None):
    """A bzImage of release 6.6.6-test around elf(), as Linux' build lays it out (Documentation/arch/x86/boot.rst)."""
    payload = gzip.compress(elf()) if payload is None else payload
    payload_offset, setup_sectors = 0x240, 3
    protected = (b'\0' * payload_offset + payload)
    protected += b'\0' * (-len(protected) % 16)
    head = bytearray((setup_sectors + 1) * 512)

    def put(offset, fmt, value):
        struct.pack_into('<' + fmt, head, offset, value)
    put(0x1f1, 'B', setup_sectors)
    put(0x1f4, 'I', len(protected) // 16)
    put(0x1fe, 'H', 0xaa55)
    put(0x200, 'H', 0xeb | (0x26c - 0x202) << 8)
    head[0x202:0x206] = b'HdrS'
    put(0x206, 'H', 0x20f)
    put(0x20e, 'H', 0x300)
    put(0x211, 'B', 1)
    put(0x236, 'H', 1)
    put(0x248, 'I', payload_offset)
    put(0x24c, 'I', len(payload))
    put(0x258, 'Q', 0x1000000)
    put(0x260, 'I', 0x2000000)
    version = b'6.6.6-test (builder@example) #1 SMP\0'
    head[0x500:0x500 + len(version)] = version
    return bytes(head) + protected


def frame(kind, sequence, payload=b''):
    """abi/frame.h: a 32-byte header with its own checksum, then the payload."""
    header = struct.pack('<4sHHQIII', b'KTS1', 1, kind, sequence, len(payload), zlib.crc32(payload), 0)
    return header + struct.pack('<I', zlib.crc32(header)) + payload


FRAME_TEST_RESULT, FRAME_EXIT, FRAME_RAW_PAYLOAD_OUTPUT, FRAME_STDOUT = 3, 4, 9, 16
MIB = 1 << 20


def frames(output=b'output\n', result_bytes=MIB, status=7):
    """What guest_console sends as its last act: some output, a large payload, the exit status."""
    result = (bytes(range(256)) * (result_bytes // 256 + 1))[:result_bytes]
    return (frame(FRAME_STDOUT, 0, output) + frame(FRAME_RAW_PAYLOAD_OUTPUT, 1, result) +
            frame(FRAME_EXIT, 2, struct.pack('<Ii', 0, status)))


# The host.

def need_kvm():
    """Ends the whole test as skipped where no VM can be made."""
    try:
        os.close(os.open('/dev/kvm', os.O_RDWR))
    except OSError as why:
        print('/dev/kvm: {}'.format(why.strerror))
        sys.exit(77)


def need_root():
    if os.geteuid() != 0:
        raise Skip('needs root')


def need_program(name):
    if not shutil.which(name):
        raise Skip(name + ' is not installed')


def main(cases):
    """Runs every case in a sandbox of its own; the arguments of the command line select by name."""
    chosen = [case for case in cases if len(sys.argv) < 2 or case.__name__ in sys.argv[1:]]
    failed = False
    for number, case in enumerate(chosen, 1):
        sandbox = Sandbox()
        began = time.monotonic()
        try:
            case(sandbox)
            print('ok {} - {} # {:.2f} s'.format(number, case.__name__, time.monotonic() - began))
        except Skip as why:
            print('ok {} # SKIP {}: {}'.format(number, case.__name__, why))
        except Exception as why:  # pylint: disable=broad-except
            failed = True
            text = str(why) if isinstance(why, Failure) else traceback.format_exc()
            print('not ok {} - {}'.format(number, case.__name__))
            print('\n'.join('# ' + line for line in text.splitlines()))
        finally:
            sandbox.close()
        sys.stdout.flush()
    print('1..{}'.format(len(chosen)))
    sys.exit(1 if failed else 0)
