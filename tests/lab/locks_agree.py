#!/usr/bin/python3
"""Whether `ktstr locks --json`, on standard input, says what /proc/locks says of the files of its folder."""
import json
import os
import sys

doc = json.load(sys.stdin)
shown = sorted((lock['kind'], lock['id'], lock['exclusive'], lock['pid']) for lock in doc['locks'])
files = {}
for name in os.listdir(doc['dir']) if doc['dir'] else ():
    parts = name.replace('.', '-').split('-')
    if parts[0] == 'ktstr' and len(parts) == 4 and parts[3] == 'lock':
        files[os.stat(os.path.join(doc['dir'], name)).st_ino] = (parts[1], int(parts[2]))
device = os.stat(doc['dir']).st_dev if doc['dir'] else 0
held = []
with open('/proc/locks', encoding='ascii') as f:
    for line in f:
        words = line.split()  # "1: FLOCK  ADVISORY  WRITE 4711 00:1a:23 0 EOF"
        major, minor, inode = words[5].split(':') if words[1] == 'FLOCK' else ('0', '0', '0')
        if (int(major, 16), int(minor, 16)) == (os.major(device), os.minor(device)) and int(inode) in files:
            held.append(files[int(inode)] + (words[3] == 'WRITE', int(words[4])))
if shown != sorted(held):
    sys.exit('ktstr locks: {}\n/proc/locks: {}'.format(shown, sorted(held)))
