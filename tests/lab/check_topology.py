#!/usr/bin/python3
"""Compares what a guest shows of its topology (guest_topology.sh) with what was declared.

usage: check_topology.py NAME DECLARATION DUMP [--hwloc]

DECLARATION is what `ktstr topo --json` prints. Every field is compared; each group is a result line of the lab's tests:
`ok NAME_GROUP` or `not ok NAME_GROUP: the first differences`.
"""
import json
import sys
import xml.etree.ElementTree as ET


def cpulist(cpus):
    """As the kernel writes sets: 0-3,8."""
    runs = []
    for cpu in sorted(cpus):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ','.join(str(a) if a == b else '{}-{}'.format(a, b) for a, b in runs)


def cpuset(text):
    """hwloc's bitmaps: 32-bit words from the highest on, 0x00000001,0xffffffff or with empty words."""
    value = 0
    for word in text.split(','):
        value = value << 32 | int(word or '0', 16)
    return {i for i in range(value.bit_length()) if value >> i & 1}


class Guest:
    """The dump, taken apart."""

    def __init__(self, path):
        sections, name = {}, None
        with open(path, errors='replace') as dump:
            for line in dump.read().replace('\r', '').replace('\0', '').split('\n'):
                if line.startswith('== '):
                    name = line[3:]
                    sections[name] = []
                elif name:
                    sections[name].append(line)
        if 'end' not in sections:
            sys.exit('the dump has no end')
        self.files = dict(line.split(':', 1) for line in sections['sysfs'] if ':' in line)
        self.cpuinfo = [self.fields(block) for block in '\n'.join(sections['cpuinfo']).split('\n\n') if block.strip()]
        self.present = {}
        for line in sections['zoneinfo']:
            words = line.split()
            if words[:1] == ['Node']:
                node = int(words[1].rstrip(','))
            elif words[:1] == ['present']:
                self.present[node] = self.present.get(node, 0) + int(words[1])
        self.hwloc = '\n'.join(sections['hwloc']).strip()

    @staticmethod
    def fields(block):
        return {key.strip(): value.strip() for key, _, value in (line.partition(':') for line in block.split('\n'))}


class Group:
    """Comparisons that make one result."""

    def __init__(self, name):
        self.name, self.n, self.wrong = name, 0, []

    def same(self, what, got, want):
        self.n += 1
        if got != want:
            self.wrong.append('{} is {!r}, not {!r}'.format(what, got, want))

    def report(self):
        if self.wrong or not self.n:
            print('not ok {}: {}'.format(self.name, '; '.join(self.wrong[:5]) or 'nothing was compared'))
        else:
            print('    {} fields'.format(self.n))
            print('ok {}'.format(self.name))
        return not self.wrong and self.n > 0


def sharing(doc, *keys):
    """For each CPU the list of those that have the same @keys."""
    groups = {}
    for cpu in doc['cpus']:
        groups.setdefault(tuple(cpu[k] for k in keys), []).append(cpu['cpu'])
    return {cpu['cpu']: cpulist(groups[tuple(cpu[k] for k in keys)]) for cpu in doc['cpus']}


def check_cpus(group, doc, guest):
    core, llc = sharing(doc, 'llc', 'core'), sharing(doc, 'llc')
    group.same('online', guest.files.get('cpu/online'), cpulist(range(doc['n_cpus'])))
    for cpu in doc['cpus']:
        n = cpu['cpu']
        for name, want in (('physical_package_id', str(cpu['llc'])), ('core_id', str(cpu['core'])),
                           ('thread_siblings_list', core[n]), ('core_cpus_list', core[n]),
                           ('core_siblings_list', llc[n]), ('package_cpus_list', llc[n]), ('die_cpus_list', llc[n])):
            path = 'cpu/cpu{}/topology/{}'.format(n, name)
            group.same(path, guest.files.get(path), want)


def check_caches(group, doc, guest):
    core, llc = sharing(doc, 'llc', 'core'), sharing(doc, 'llc')
    kinds = (('1', 'Data', core), ('1', 'Instruction', core), ('2', 'Unified', core), ('3', 'Unified', llc))
    for cpu in range(doc['n_cpus']):
        for index, (level, kind, shared) in enumerate(kinds):
            path = 'cpu/cpu{}/cache/index{}/'.format(cpu, index)
            group.same(path + 'level', guest.files.get(path + 'level'), level)
            group.same(path + 'type', guest.files.get(path + 'type'), kind)
            group.same(path + 'shared_cpu_list', guest.files.get(path + 'shared_cpu_list'), shared[cpu])
            group.same(path + 'size', guest.files.get(path + 'size') not in (None, '', '0K'), True)
        path = 'cpu/cpu{}/cache/index4/level'.format(cpu)
        group.same(path, guest.files.get(path), None)


def check_cpuinfo(group, doc, guest):
    group.same('processors', len(guest.cpuinfo), doc['n_cpus'])
    n_llc = {}
    for cpu in doc['cpus']:
        n_llc.setdefault(cpu['llc'], set()).add(cpu['core'])
    for cpu, info in zip(doc['cpus'], guest.cpuinfo):
        siblings = sum(1 for other in doc['cpus'] if other['llc'] == cpu['llc'])
        for key, want in (('processor', cpu['cpu']), ('physical id', cpu['llc']), ('core id', cpu['core']),
                          ('siblings', siblings), ('cpu cores', len(n_llc[cpu['llc']])), ('apicid', cpu['apic_id']),
                          ('initial apicid', cpu['apic_id'])):
            group.same('cpuinfo {} {}'.format(cpu['cpu'], key), info.get(key), str(want))
        group.same('hypervisor flag', 'hypervisor' in info.get('flags', '').split(), True)


def check_nodes(group, doc, guest):
    nodes = doc['nodes']
    everyone = cpulist(range(len(nodes)))
    group.same('nodes', guest.files.get('node/online'), everyone)
    group.same('nodes with memory', guest.files.get('node/has_memory'), everyone)
    group.same('nodes with CPUs', guest.files.get('node/has_cpu'),
               cpulist(n['node'] for n in nodes if n['cpus']))
    for node in nodes:
        path = 'node/node{}/'.format(node['node'])
        group.same(path + 'cpulist', guest.files.get(path + 'cpulist'), node['cpus'])
        group.same(path + 'distance', guest.files.get(path + 'distance'), ' '.join(map(str, node['distances'])))
        # Linux has each page but the legacy BIOS area below 1 MiB, and page 0.
        missing = node['memory_mib'] * 256 - guest.present.get(node['node'], 0)
        limit = 100 if node['memory'][0]['start_mib'] == 0 else 0
        group.same('pages missing in node {}'.format(node['node']), 0 <= missing <= limit or missing, True)


INDEXING = {'direct': '0', 'complex': '1'}
POLICY = {'back': '0', 'through': '1'}


def check_attributes(group, doc, guest):
    told = len(doc['nodes']) > 1 or any('latency_ns' in n or 'bandwidth_mbs' in n or 'cache' in n for n in doc['nodes'])
    for node in doc['nodes']:
        for access in ('access0', 'access1'):
            path = 'node/node{}/{}/initiators'.format(node['node'], access)
            group.same(path, guest.files.get(path), 'node{}'.format(node['initiator']) if told else None)
            for name, key in (('latency', 'latency_ns'), ('bandwidth', 'bandwidth_mbs')):
                for way in ('read', 'write'):
                    file = '{}/{}_{}'.format(path, way, name)
                    # Linux shows 0 where it was told nothing.
                    group.same(file, guest.files.get(file), str(node.get(key, 0)) if told else None)
        path = 'node/node{}/memory_side_cache/index1/'.format(node['node'])
        cache = 'cache' in node
        size = node['cache'] if cache else '0K'
        size = int(size[:-1]) << {'K': 10, 'M': 20}[size[-1]]
        for name, want in (('size', size), ('line_size', node.get('cache_line')),
                           ('indexing', INDEXING.get(node.get('cache_indexing'))),
                           ('write_policy', POLICY.get(node.get('cache_policy')))):
            group.same(path + name, guest.files.get(path + name), str(want) if cache else None)


def check_hwloc(group, doc, guest):
    root = ET.fromstring(guest.hwloc[guest.hwloc.index('<topology'):])
    seen = {}
    for o in root.iter('object'):
        seen.setdefault(o.get('type'), []).append((o.get('os_index'), o.get('cpuset')))
    sets = {kind: sorted(cpulist(cpuset(c)) for _, c in objects) for kind, objects in seen.items()}
    core, llc = sharing(doc, 'llc', 'core'), sharing(doc, 'llc')
    for kind, want in (('PU', [str(c['cpu']) for c in doc['cpus']]), ('Core', set(core.values())),
                       ('L1Cache', set(core.values())), ('L2Cache', set(core.values())), ('L3Cache', set(llc.values())),
                       ('Package', set(llc.values()))):
        group.same('hwloc ' + kind, sets.get(kind), sorted(want))
    numa = {int(index): cpulist(cpuset(c)) for index, c in seen['NUMANode']}
    for node in doc['nodes']:
        # hwloc hangs a node without CPUs where its initiators are.
        owner = doc['nodes'][node['initiator']]
        group.same('hwloc NUMANode {}'.format(node['node']), numa.get(node['node']) in (node['cpus'], owner['cpus'],
                   cpulist(range(doc['n_cpus']))), True)
    group.same('hwloc NUMANodes', sorted(numa), [n['node'] for n in doc['nodes']])
    check_hwloc_distances(group, doc, root)


def check_hwloc_distances(group, doc, root):
    if len(doc['nodes']) == 1:
        return
    for d in root.iter('distances2'):
        if d.get('name') == 'NUMALatency':
            values = ' '.join(v.text for v in d.findall('u64values')).split()
            group.same('hwloc distances', values, [str(v) for n in doc['nodes'] for v in n['distances']])
            return
    group.same('hwloc distances', None, 'a matrix')


def main():
    name, declaration, dump = sys.argv[1:4]
    with open(declaration) as f:
        doc = json.load(f)
    guest = Guest(dump)
    checks = [('cpus', check_cpus), ('caches', check_caches), ('cpuinfo', check_cpuinfo), ('nodes', check_nodes),
              ('attributes', check_attributes)]
    if '--hwloc' in sys.argv[4:]:
        checks.append(('hwloc', check_hwloc))
    good = True
    for suffix, check in checks:
        group = Group('{}_{}'.format(name, suffix))
        check(group, doc, guest)
        good = group.report() and good
    sys.exit(0 if good else 1)


if __name__ == '__main__':
    main()
