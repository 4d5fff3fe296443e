"""ktstr report: documents of batches shown, merged, exported, compared; bad ones refused."""
import copy
import json
import os
import pty
import subprocess
import xml.etree.ElementTree as xml

import e2e
from e2e import KTSTR, ROOT, need, need_error, need_program

OUTCOMES = ['PASS', 'FAIL', 'SKIP', 'INCONCLUSIVE', 'PANIC', 'STALL', 'TIMEOUT', 'BOOT', 'INFRA', 'NOT_RUN']


def a_test(name, outcome='PASS', why='', ms=10, repeat=0, metrics=(), **more):
    """An entry as docs/test-json.md has it."""
    suffix = '#{}'.format(repeat) if repeat else ''
    result = {'name': name, 'outcome': 'PASS', 'message': '', 'duration_ms': ms, 'subtests': [],
              'metrics': [dict(name=n, value=v, unit=u, better=b) for n, v, u, b in metrics]}
    entry = {'id': 'prog/' + name + suffix, 'program': '/x/prog', 'name': name, 'repeat': repeat, 'outcome': outcome,
             'why': why, 'begin_us': 0, 'duration_us': ms * 1000, 'output': '',
             'declared': {'topology': '1,1,1,1', 'memory_mib': 256, 'timeout_s': 30, 'perf': False, 'cpu_cap': 0,
                          'disk_mib': 0, 'disk_fs': '', 'net': False},
             'evidence': {'last_phase': 'command', 'exit': None, 'deadline_by': '', 'panic': '', 'crash': '',
                          'log_tail': '', 'notes': [], 'timeline': []},
             'resources': {'user_us': 0, 'system_us': 0, 'max_rss_kib': 0, 'steal_us': None, 'overcommit': 1,
                           'cpus': '', 'counters': {}, 'vcpus': []},
             'attempts': [], 'tests': [result]}
    entry.update(more)
    return entry


def batch(*tests, **more):
    counts = {name: sum(t['outcome'] == name for t in tests) for name in OUTCOMES}
    counts.update(tests=len(tests), retried=0)
    doc = {'format': 'ktstr-batch', 'version': 1, 'ktstr': '0.1', 'start': '2026-01-31T12:00:00.000000Z',
           'duration_us': 1000000, 'host': 'h', 'kernel': '/k', 'release': '6.12', 'seed': '1', 'shard': None, 'jobs': 1,
           'repeat': 1, 'overcommit': 1, 'interrupted': 0, 'exit_status': 0, 'counts': counts, 'tests': list(tests)}
    doc.update(more)
    return doc


def shard(index, count):
    return {'index': index, 'count': count}


def put(box, name, doc):
    return box.file(name, json.dumps(doc))


HOSTILE = 'panic: ]]> <b>&"\' \x1b[31m \ufffe # \\ \n  ...\n---\nnot ok 1\n1..0\nBail out!'


def full():
    """Every outcome, with the texts of a hostile guest."""
    tests = [a_test('t/' + name.lower(), name, '' if name == 'PASS' else HOSTILE) for name in OUTCOMES]
    tests[4]['evidence'].update(panic=HOSTILE, log_tail=HOSTILE, crash=HOSTILE, notes=[HOSTILE])
    tests[4]['tests'][0]['subtests'] = [
        {'name': 'sub # 1', 'outcome': None, 'message': '', 'duration_ms': 0, 'metrics': [], 'subtests': []},
        {'name': 'sub 2', 'outcome': 'FAIL', 'message': HOSTILE, 'duration_ms': 1.5, 'metrics': [], 'subtests': []}]
    tests[0]['tests'][0]['metrics'] = [dict(name='latency ]]>', value=1.5, unit='us', better='lower')]
    return batch(*tests)


def exit_status_follows_the_worst_outcome(box):
    for outcomes, status in (('PASS', 0), ('PASS SKIP', 0), ('PASS FAIL', 1), ('PANIC INFRA', 1), ('PASS INFRA', 3),
                             ('PASS INCONCLUSIVE', 2), ('INCONCLUSIVE INFRA', 3), ('SKIP', 4), ('', 4), ('NOT_RUN', 4),
                             ('PASS NOT_RUN', 2)):
        tests = [a_test('t{}'.format(i), outcome) for i, outcome in enumerate(outcomes.split())]
        result = box.run('report', put(box, 'a.json', batch(*tests)))
        need(result.status == status, '{}: {}'.format(outcomes, result.text()))


def summary_explains_failures_causes_first(box):
    result = box.run('report', put(box, 'a.json', full()))
    text = result.out.decode()
    need(result.status == 1 and not result.err, result.text())
    need(text.startswith('PANIC prog/t/panic (10.0 ms)\n    panic: ]]>'), text)
    need('\x1b' not in text, 'an escape of the guest came through: ' + text)
    need('10 tests: 1 passed, 1 skipped, 1 not run, 1 inconclusive' in text, text)
    need('subtest sub # 1: no result' in text, text)


def json_export_is_the_document_again(box):
    box.run('report', '--json', box.file('b.json'), put(box, 'a.json', full()))
    box.run('report', '--json', box.file('c.json'), box.file('b.json'))
    with open(box.file('b.json'), 'rb') as b, open(box.file('c.json'), 'rb') as c:
        first, second = b.read(), c.read()
    need(first == second, 'not the same again')
    doc = json.loads(first)
    need([t['outcome'] for t in doc['tests']] == OUTCOMES and doc['exit_status'] == 1, str(doc)[:2000])
    need_described(doc)


def need_described(doc):
    """Every key of the document is in docs/test-json.md."""
    with open(os.path.join(ROOT, 'docs/test-json.md'), encoding='utf-8') as f:
        described = f.read()

    def walk(node, path):
        if isinstance(node, dict) and path != 'counters':
            for key, value in node.items():
                need('`{}`'.format(key) in described, 'docs/test-json.md lacks ' + key)
                walk(value, key)
        elif isinstance(node, list):
            for value in node:
                walk(value, path)
    walk(doc, '')


def junit_is_what_the_schema_says(box):
    need_program('xmllint')
    result = box.run('report', '--junit', box.file('a.xml'), put(box, 'a.json', full()))
    need(result.status == 1, result.text())
    done = subprocess.run(['xmllint', '--noout', '--schema', os.path.join(ROOT, 'docs/junit.xsd'), box.file('a.xml')],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    need(done.returncode == 0, done.stdout.decode())
    suite = xml.parse(box.file('a.xml')).getroot().find('testsuite')
    need([suite.get(k) for k in ('tests', 'failures', 'errors', 'skipped')] == ['10', '5', '1', '3'], str(suite.attrib))
    kinds = [[child.tag for child in case if child.tag != 'system-out'] for case in suite.findall('testcase')]
    need(kinds == [[], ['failure'], ['skipped'], ['skipped'], ['failure'], ['failure'], ['failure'], ['failure'],
                   ['error'], ['skipped']], str(kinds))
    need(']]> <b>&"\'' in suite.findall('testcase')[4].find('failure').text, 'the text is another')


def tap_points(text):
    """The lines of the top level that are test points; the structure of the rest is checked."""
    lines = text.splitlines()
    need(lines[0] == 'TAP version 14', lines[0])
    points, in_yaml = [], False
    for line in lines[1:]:
        if in_yaml:
            in_yaml = line != '  ...'
            need(line.startswith('  '), 'broke out of its block: ' + line)
        elif line == '  ---':
            in_yaml = True
        elif line.startswith(('ok ', 'not ok ')):
            points.append(line)
        else:
            need(line.startswith(('1..', '    ', 'Bail out!')), 'not TAP: ' + line)
    need(not in_yaml, 'a block that does not end')
    return points


def tap_has_a_point_per_test(box):
    result = box.run('report', '--tap', '-', put(box, 'a.json', full()))
    need(result.status == 1, result.text())
    text = result.out.decode()
    points = tap_points(text)
    need('1..10' in text.splitlines()[1], text)
    need([p.startswith('ok') for p in points] == [True, False, True, True] + 5 * [False] + [True], str(points))
    need(points[3].startswith('ok 4 - prog/t/inconclusive # SKIP INCONCLUSIVE: panic'), points[3])
    need('    not ok 1 - sub \\# 1' in text and '    1..2' in text, text)
    need(b'tests: ' in result.err, 'the summary should be on stderr: ' + result.text())


def prove_reads_the_tap(box):
    need_program('prove')
    text = box.run('report', '--tap', '-', put(box, 'a.json', full())).out.replace(b'TAP version 14', b'TAP version 13')
    box.file('a.tap', text)  # this prove knows 13 only; the blocks are the same
    done = subprocess.run(['prove', '-e', 'cat', box.file('a.tap')], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    text = done.stdout.decode(errors='replace')
    need('Tests: 10 Failed: 6' in text and 'less 3 skipped' in text and 'Parse errors' not in text, text)


def shards_become_one_batch(box):
    for i in range(3):
        put(box, 's{}.json'.format(i), batch(a_test('t{}'.format(i)), shard=shard(i + 1, 3),
                                             start='2026-01-31T12:00:0{}.000000Z'.format(i)))
    result = box.run('report', '--json', box.file('all'), *[box.file('s{}.json'.format(i)) for i in (2, 0, 1)])
    need(result.status == 0 and b'3 tests: 3 passed, in 3.00 s' in result.out, result.text())
    with open(box.file('all'), encoding='utf-8') as f:
        doc = json.load(f)
    need(doc['shard'] is None and doc['start'] == '2026-01-31T12:00:00.000000Z', str(doc)[:500])
    need([t['begin_us'] for t in doc['tests']] == [2000000, 0, 1000000], str(doc)[:500])


def a_lost_shard_is_infra(box):
    os.mkdir(box.file('shards'))
    put(box, 'shards/1.json', batch(a_test('t1'), shard=shard(1, 2)))
    alone = box.run('report', box.file('shards/1.json'))
    need(alone.status == 0 and b'one shard' in alone.out, alone.text())
    folder = box.run('report', box.file('shards'))
    need(folder.status == 3 and b'INFRA shard/2-of-2' in folder.out, folder.text())


def folder_stands_for_its_batch(box):
    os.mkdir(box.file('out'))
    put(box, 'out/batch.json', batch(a_test('t1')))
    put(box, 'out/other.json', {'not': 'a batch'})
    result = box.run('report', box.file('out'))
    need(result.status == 0 and b'1 test: 1 passed' in result.out, result.text())
    os.unlink(box.file('out/batch.json'))
    need_error(box.run('report', box.file('out')), 64, 'other.json', "'format'")


def what_does_not_belong_together_is_refused(box):
    a, b = put(box, 'a', batch(a_test('t1'))), put(box, 'b', batch(a_test('t1'), release='6.1'))
    need_error(box.run('report', a, a), 64, "test 'prog/t1' is in another document")
    need_error(box.run('report', a, b), 64, "kernel '6.12'", "'6.1'")
    half = put(box, 'half', batch(a_test('t2'), shard=shard(1, 2)))
    third = put(box, 'third', batch(a_test('t3'), shard=shard(1, 3)))
    need_error(box.run('report', half, third), 64, 'do not belong together')
    need_error(box.run('report', a, half), 64, 'do not belong together')
    again = put(box, 'again', batch(a_test('t4'), shard=shard(1, 2)))
    need_error(box.run('report', half, again), 64, 'shard 1 of 2 is there already')
    other = put(box, 'other', batch(a_test('t2'), seed='2', host='i', ktstr='0.2'))
    result = box.run('report', a, other)
    need(result.status == 0 and result.err.count(b'ktstr: note: ') == 3, result.text())


def bad_files_are_refused_by_name(box):
    good = json.dumps(batch(a_test('t1')))
    need_error(box.run('report', 'nowhere'), 64, "'nowhere'", 'No such file')
    need_error(box.run('report', box.file('empty', '')), 64, "empty'", 'no JSON')
    need_error(box.run('report', box.file('cut', good[:-40])), 64, "cut'", 'no JSON')
    need_error(box.run('report', box.file('noise', os.urandom(100000))), 64, "noise'", 'no JSON')
    need_error(box.run('report', box.file('run', '{"version": 1, "outcome": "PASS"}')), 64, "'format'", 'ktstr test')
    need_error(box.run('report', box.file('new', good.replace('"version": 1', '"version": 2'))), 64, "'version'")
    need_error(box.run('report', box.file('deep', '[' * 100000)), 64, 'no JSON')
    need_error(box.run('report', box.file('tmp')), 64, 'no batch.json')
    edited = good.replace('"outcome": "PASS", "why"', '"outcome": "FAIL", "why"')
    need_error(box.run('report', box.file('edited', edited)), 64, "'counts'")


def no_permission_is_told(box):
    path = put(box, 'a.json', batch(a_test('t1')))
    if os.geteuid() == 0:
        need_program('setpriv')
        wrapper = ('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups')
    else:
        wrapper = ()
    os.chmod(path, 0)
    need_error(box.run('report', path, wrapper=wrapper), 64, 'Permission denied')
    os.chmod(path, 0o644)
    os.mkdir(box.file('closed'), 0o555)
    need_error(box.run('report', '--json', box.file('closed/x'), path, wrapper=wrapper), 64, 'Permission denied')


def full_disk_is_told_behind_the_verdict(box):
    path = put(box, 'a.json', full())
    for option in ('--json', '--junit', '--tap'):
        result = box.run('report', option, '/dev/full', path)
        need(result.status == 64 and b'10 tests: ' in result.out, result.text())
        need(result.err == b"ktstr: cannot write '/dev/full': No space left on device\n", result.text())
    with open('/dev/full', 'wb') as out:
        result = box.run('report', path, stdout=out)
    need(result.status == 115 and b'No space left' in result.err, result.text())


def full_file_system_keeps_the_old_document(box):
    e2e.need_root()
    need_program('unshare')
    big = [a_test('t{}'.format(i), 'FAIL', 'x' * 5000) for i in range(100)]
    path = put(box, 'a.json', batch(*big))
    os.mkdir(box.file('disk'))
    script = ('mount -t tmpfs -o size=64k none disk && echo old > disk/x.json && '
              '{} report --json disk/x.json {}; echo "status $?"; cat disk/x.json; ls disk'.format(KTSTR, path))
    done = subprocess.run(['unshare', '-m', 'sh', '-c', script], cwd=box.path, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=box.env(), check=False)
    if b'status' not in done.stdout:
        raise e2e.Skip('no tmpfs of its own: ' + done.stderr.decode())
    need(done.stdout.endswith(b'status 64\nold\nx.json\n') and b'No space left' in done.stderr,
         str((done.stdout[-300:], done.stderr)))


def huge_document_is_read(box):
    tests = [a_test('t{}'.format(i), 'FAIL' if i % 100 == 0 else 'PASS', 'x' * 5000) for i in range(4000)]
    result = box.run('report', put(box, 'a.json', batch(*tests)), limit=60)
    need(result.status == 1 and b'4000 tests: 3960 passed, 40 failed' in result.out, result.text())


def terminal_gets_colors_and_its_width(box):
    path = put(box, 'a.json', batch(a_test('t1', 'FAIL', 'word ' * 60 + '\n' + 'y' * 300)))
    for env, colored in ((box.env(TERM='xterm'), True), (box.env(TERM='dumb'), False),
                         (box.env(TERM='xterm', NO_COLOR='1'), False)):
        master, slave = pty.openpty()
        subprocess.run(['stty', 'cols', '60'], stdin=slave, check=True)
        result = box.run('report', path, stdout=slave, env=env)
        os.close(slave)
        text = os.read(master, 65536).decode().replace('\r\n', '\n')
        os.close(master)
        need(result.status == 1 and ('\x1b[31m' in text) == colored, repr(text))
        if not colored:
            need(max(len(line) for line in text.splitlines()) <= 60, text)


def compare(box, before, after, *options):
    result = box.run('report', '--compare', *options, '--json', '-', put(box, 'before', before),
                     put(box, 'after', after))
    return result.status, json.loads(result.out), result.err.decode()


def compare_tells_every_kind_of_change(box):
    before = [a_test('good'), a_test('breaks'), a_test('heals', 'FAIL'), a_test('goes'), a_test('lost'),
              a_test('sick', 'PANIC')]
    after = [a_test('good'), a_test('breaks', 'PANIC', 'cause\nrest'), a_test('heals'), a_test('comes'),
             a_test('lost', 'SKIP'), a_test('sick', 'FAIL'), a_test('born bad', 'FAIL')]
    status, doc, text = compare(box, batch(*before), batch(*after))
    found = [(d['change'], d['test']) for d in doc['differences']]
    need(found == [('new-failure', 'prog/born bad'), ('new-failure', 'prog/breaks'), ('not-measured', 'prog/lost'),
                   ('missing', 'prog/goes'), ('fixed', 'prog/heals'), ('new', 'prog/comes')], str(found))
    need(status == 1 and doc['exit_status'] == 1 and doc['still_failing'] == 1, str(doc))
    need('new failures:\n' in text and 'PASS -> PANIC\n      cause\n' in text and 'rest' not in text, text)
    status, doc, _ = compare(box, batch(*before), batch(*before))
    need(status == 0 and not doc['differences'], str(doc))
    status, doc, _ = compare(box, batch(*before), batch(*before[:-1]))
    need(status == 2, str(doc))


def repeats(name, durations, outcome='PASS', metric=None):
    tests = []
    for i, ms in enumerate(durations, 1):
        metrics = [('rate', ms, 'op/s', metric)] if metric else []
        tests.append(a_test(name, outcome, ms=20 if metric else ms, repeat=i, metrics=metrics))
    return batch(*tests)


def compare_needs_both_gates(box):
    base = repeats('t', [1000, 1010, 990, 5000])
    for after, options, want in (([1090] * 4, (), []),                                # 90 ms, 9 %
                                 ([1200] * 4, (), ['slower']),
                                 ([1200] * 4, ('--slower-ms', '300'), []),
                                 ([1200] * 4, ('--slower-percent', '30'), []),
                                 ([1090] * 4, ('--slower-percent', '5', '--slower-ms', '50'), ['slower']),
                                 ([500] * 4, (), ['faster'])):
        status, doc, _ = compare(box, base, repeats('t', after), *options)
        need([d['change'] for d in doc['differences']] == want, str((after, options, doc)))
        need(status == (2 if 'slower' in want else 0), str((status, doc)))


def compare_says_when_runs_are_too_few(box):
    status, doc, text = compare(box, repeats('t', [1000]), repeats('t', [3000]))
    need(status == 0 and not doc['differences'][0]['enough_runs'], str(doc))
    need('too few runs to tell from noise' in text, text)


def compare_metrics_respect_their_direction(box):
    for better, after, want in (('higher', 50, 'metric-worse'), ('higher', 200, 'metric-better'),
                                ('lower', 50, 'metric-better'), ('lower', 200, 'metric-worse'), ('neither', 200, None)):
        status, doc, _ = compare(box, repeats('t', [100, 101, 99], metric=better),
                                 repeats('t', [after] * 3, metric=better))
        need([d['change'] for d in doc['differences']] == ([want] if want else []), str((better, after, doc)))
        need(status == (2 if want == 'metric-worse' else 0), str(doc))
    _, doc, _ = compare(box, repeats('t', [50, 100, 150, 200], metric='lower'),
                        repeats('t', [60, 120, 180, 220], metric='lower'))
    need(not doc['differences'], 'within what it varies by itself: ' + str(doc))


def flaky_tests_are_counted_by_their_runs(box):
    before = batch(*[a_test('t', 'PASS', repeat=i) for i in range(1, 5)])
    after = copy.deepcopy(before)
    after['tests'][2]['outcome'] = 'FAIL'
    after['counts'].update(PASS=3, FAIL=1)
    status, doc, text = compare(box, before, after)
    need(status == 1 and 'failed 0 of 4 -> 1 of 4' in text, str((doc, text)))


def wrong_arguments_are_refused(box):
    path = put(box, 'a.json', batch(a_test('t1')))
    need_error(box.run('report'), 64, 'which document')
    need_error(box.run('report', '--what', path), 64, "'--what'")
    need_error(box.run('report', '--compare', path), 64, 'two documents')
    need_error(box.run('report', '--compare', '--junit', 'x', path, path), 64, 'only --json')
    need_error(box.run('report', '--slower-ms', '5', path), 64, 'need --compare')
    need_error(box.run('report', '--compare', '--slower-ms', 'x', path, path), 64, '--slower-ms')
    need_error(box.run('report', '--json', '-', '--tap', '-', path), 64, 'only one document')
    need_error(box.run('report', '--json', 'no/such/folder', path), 64, 'no/such/folder')
    need(box.run('report', '--help').status == 0, '--help')


e2e.main([
    exit_status_follows_the_worst_outcome,
    summary_explains_failures_causes_first,
    json_export_is_the_document_again,
    junit_is_what_the_schema_says,
    tap_has_a_point_per_test,
    prove_reads_the_tap,
    shards_become_one_batch,
    a_lost_shard_is_infra,
    folder_stands_for_its_batch,
    what_does_not_belong_together_is_refused,
    bad_files_are_refused_by_name,
    no_permission_is_told,
    full_disk_is_told_behind_the_verdict,
    full_file_system_keeps_the_old_document,
    huge_document_is_read,
    terminal_gets_colors_and_its_width,
    compare_tells_every_kind_of_change,
    compare_needs_both_gates,
    compare_says_when_runs_are_too_few,
    compare_metrics_respect_their_direction,
    flaky_tests_are_counted_by_their_runs,
    wrong_arguments_are_refused,
])
