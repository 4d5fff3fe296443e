#!/usr/bin/python3
"""ktstr topo: what it prints of a topology is what a guest is told, and its declaration reads back."""
import json

import e2e
from e2e import need


def topo(box, *args):
    result = box.run('topo', *args)
    need(result.status == 0 and not result.err, result.text())
    return result.out.decode()


def test_presets_are_listed_and_each_is_a_topology(box):
    presets = json.loads(topo(box, '--presets', '--json'))['presets']
    text = topo(box, '--presets')
    need(len(presets) == 24, '{} presets'.format(len(presets)))
    for preset in presets:
        need(preset['name'] in text, preset['name'])
        doc = json.loads(topo(box, '--json', '--topology', preset['name']))
        need(doc['n_cpus'] == preset['n_cpus'] == len(doc['cpus']), preset['name'])
        need(len(doc['llcs']) == preset['llcs'] and len(doc['nodes']) == preset['nodes'], preset['name'])


def test_declaration_reads_back_from_a_file(box):
    explicit = 'cores=3;threads=2;node=llcs:2,memory:4G,latency_ns:80;node=llcs:1,memory:1G;' \
        'node=llcs:0,memory:1G,bandwidth_mbs:200000,cache:64M,cache_policy:through;distances=10,21,30/21,10,17/30,17,10'
    for topology in (explicit, 'smt-3llc', '2,5,3,1'):
        doc = json.loads(topo(box, '--json', '--topology', topology))
        path = box.file('declaration.json', json.dumps(doc['declaration']))
        again = json.loads(topo(box, '--json', '--topology', '@' + path))
        need(again == doc, topology)
    need(json.loads(topo(box, '--json', '--topology', explicit))['topology'] == explicit, 'canonical text')


def test_text_shows_nodes_llcs_and_memory(box):
    text = topo(box, '--topology', 'cores=2;node=llcs:2,memory:512M;node=memory:1G,latency_ns:300')
    for part in ('4 CPUs', 'LLC 1: CPUs 2-3', 'node 0: 512 MiB', 'node 1: 1024 MiB, distances 20 10, 300 ns, memory only'):
        need(part in text, text)


if __name__ == '__main__':
    e2e.main([case for name, case in list(globals().items()) if name.startswith('test_')])
