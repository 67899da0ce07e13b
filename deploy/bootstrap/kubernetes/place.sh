# Sourced by the scripts beside it: where things are. BERTH_KUBERNETES_CACHE names another folder, that several checkouts may share.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${BERTH_KUBERNETES_CACHE:-$here/../../../.berth/cache/kubernetes}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd -P)
bin=$cache/bin
run=$cache/run
pki=$cache/pki
admin=$pki/admin.kubeconfig
# Where the controller manager makes volumes of the storage class; it knows no other place.
volumes=/tmp/hostpath_pv

say() { echo "kubernetes: $*" >&2; }
fail() { say "$*"; exit 1; }
need() { for program in "$@"; do command -v "$program" > /dev/null || fail "needs $program"; done; }

# Processes in the order in which they start.
parts=(etcd apiserver controller-manager scheduler kubelet)
# One that is dead and not waited for, where the machine's first process does not, still has its number.
is_alive() { [ -f "$run/$1.pid" ] && grep -q -s '^State:[[:space:]]*[^ZX]' "/proc/$(cat "$run/$1.pid")/status"; }
