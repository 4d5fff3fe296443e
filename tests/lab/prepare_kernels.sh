#!/bin/bash
# Outside the lab, before it: the stock kernels that its tests boot, in the user's cache (downloaded once).
set -euo pipefail
cd "$(dirname "$0")/../.."
ktstr=${KTSTR:-build/src/cli/ktstr}
for series in 6.1 6.12; do
	"$ktstr" kernel path "$series" > /dev/null 2>&1 || "$ktstr" kernel fetch "$series"
	# Decompressed here once rather than in every lab: a kernel that this host refuses is decompressed all the same.
	timeout 60 "$ktstr" run --kernel "$series" -- true > /dev/null 2>&1 || true
done
