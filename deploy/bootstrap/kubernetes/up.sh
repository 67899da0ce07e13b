#!/usr/bin/env bash
# Starts what build.sh built: etcd, the API server, the controller manager, the scheduler, and a kubelet on this machine's Docker Engine.
# One at a time on a machine. Prints the path of the administrator's kubeconfig; down.sh stops it all. The API server writes who did
# what to run/audit.log. `up.sh apiserver` starts that part alone, after it was killed; so does any other part's name.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/place.sh"
need docker openssl kubectl curl sysctl
mkdir -p "$run"/{etcd,kubelet} "$pki"
etcd=$cache/unpacked/usr/bin/etcd
api=https://127.0.0.1:16443
etcd_client=http://127.0.0.1:12379
bridge=$(ip -4 -o addr show docker0 | awk '{ sub("/.*", "", $4); print $4; exit }')
[ -n "$bridge" ] || fail "Docker has no bridge docker0"

issue() { # name, subject, names it is known by
  local name=$1 subject=$2 names=$3
  openssl req -newkey rsa:2048 -nodes -keyout "$pki/$name.key" -out "$pki/$name.csr" -subj "$subject" 2> /dev/null
  printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names" > "$pki/$name.ext"
  openssl x509 -req -in "$pki/$name.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 3650 \
    -extfile "$pki/$name.ext" -out "$pki/$name.crt" 2> /dev/null
  cat > "$pki/$name.kubeconfig" << YAML
apiVersion: v1
kind: Config
clusters: [{name: berth, cluster: {server: "$api", certificate-authority: $pki/ca.crt}}]
users: [{name: $name, user: {client-certificate: $pki/$name.crt, client-key: $pki/$name.key}}]
contexts: [{name: berth, context: {cluster: berth, user: $name}}]
current-context: berth
YAML
}

# Kubeconfigs name their files, so a cache that was moved needs new ones.
make_certificates() {
  [ "$(cat "$pki/made" 2> /dev/null)" = "$pki" ] && return
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$pki/ca.key" -out "$pki/ca.crt" -days 3650 -subj /CN=berth-test 2> /dev/null
  local own
  own=$(hostname -I | tr ' ' '\n' | grep -E '^[0-9.]+$' | sed 's/^/,IP:/' | tr -d '\n')
  issue apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.96.0.1,IP:$bridge"
  issue admin /O=system:masters/CN=admin DNS:admin
  issue controller-manager /CN=system:kube-controller-manager DNS:controller-manager
  issue scheduler /CN=system:kube-scheduler DNS:scheduler
  issue node1 /O=system:nodes/CN=system:node:node1 "DNS:node1,IP:127.0.0.1$own"
  openssl genrsa -out "$pki/accounts.key" 2048 2> /dev/null
  openssl rsa -in "$pki/accounts.key" -pubout -out "$pki/accounts.pub" 2> /dev/null
  echo "$pki" > "$pki/made"
}

launch() { # part, command
  local part=$1
  shift
  setsid nohup "$@" >> "$run/$part.log" 2>&1 < /dev/null &
  echo $! > "$run/$part.pid"
}

launch_etcd() {
  launch etcd "$etcd" --data-dir "$run/etcd" --unsafe-no-fsync \
    --listen-client-urls $etcd_client --advertise-client-urls $etcd_client \
    --listen-peer-urls http://127.0.0.1:12380 --initial-advertise-peer-urls http://127.0.0.1:12380 \
    --initial-cluster default=http://127.0.0.1:12380
}

launch_apiserver() {
  printf 'apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n' > "$run/audit.yaml"
  launch apiserver "$bin/kube-apiserver" --etcd-servers=$etcd_client --secure-port=16443 --bind-address=0.0.0.0 \
    --advertise-address="$bridge" --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --client-ca-file="$pki/ca.crt" \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" \
    --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --service-account-key-file="$pki/accounts.pub" --service-account-signing-key-file="$pki/accounts.key" \
    --service-account-issuer=https://kubernetes.default.svc --cert-dir="$run" \
    --audit-policy-file="$run/audit.yaml" --audit-log-path="$run/audit.log" ${APISERVER_FLAGS:-}
}

# A machine that falls silent counts as lost after 12 s, not 40. Folders of volumes are open to every user, see build.sh.
launch_controller-manager() {
  (umask 0 && launch controller-manager "$bin/kube-controller-manager" --kubeconfig="$pki/controller-manager.kubeconfig" \
    --service-account-private-key-file="$pki/accounts.key" --root-ca-file="$pki/ca.crt" --use-service-account-credentials=true \
    --leader-elect=false --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
    --allocate-node-cidrs=true --cluster-cidr=10.244.0.0/16 --cert-dir="$run" --enable-hostpath-provisioner=true \
    --node-monitor-period=2s --node-monitor-grace-period=12s)
}

launch_scheduler() {
  launch scheduler "$bin/kube-scheduler" --kubeconfig="$pki/scheduler.kubeconfig" --leader-elect=false --cert-dir="$run"
}

# It changes settings of the kernel, which down.sh sets back.
launch_kubelet() {
  [ -f "$run/sysctl.save" ] || sysctl vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops \
    kernel.keys.root_maxkeys kernel.keys.root_maxbytes | tr -d ' ' > "$run/sysctl.save"
  docker image inspect berth-test-pause:2 > /dev/null 2>&1 || tar -C "$cache/pause" -c pause \
    | docker import --change 'ENTRYPOINT ["/pause"]' --change 'USER 65535:65535' - berth-test-pause:2 > /dev/null
  cat > "$run/kubelet.yaml" << YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failSwapOn: false
port: 20250
healthzPort: 20248
readOnlyPort: 0
tlsCertFile: $pki/node1.crt
tlsPrivateKeyFile: $pki/node1.key
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
makeIPTablesUtilChains: false
enforceNodeAllocatable: []
nodeStatusUpdateFrequency: 3s
nodeLeaseDurationSeconds: 12
volumeStatsAggPeriod: 5s
syncFrequency: 5s
YAML
  launch kubelet "$bin/kubelet" --config="$run/kubelet.yaml" --kubeconfig="$pki/node1.kubeconfig" --hostname-override=node1 \
    --root-dir="$run/kubelet" --container-runtime=docker --docker-endpoint=unix:///var/run/docker.sock \
    --pod-infra-container-image=berth-test-pause:2 --network-plugin= --cert-dir="$run"
}

wait_for() { # part, seconds, test
  local part=$1 end=$((SECONDS + $2))
  shift 2
  until "$@" > /dev/null 2>&1; do
    is_alive "$part" || fail "$part ended, see $run/$part.log"
    [ $SECONDS -lt $end ] || fail "$part is not ready, see $run/$part.log"
    sleep 0.2
  done
}
k() { kubectl --kubeconfig "$admin" --request-timeout=5s "$@"; }
answers() { [ "$(curl --silent --insecure --max-time 1 $api/readyz)" = ok ]; }
has_node() { k get node node1 | grep -q ' Ready'; }
has_account() { k get serviceaccount default; }

make_certificates
chosen=("$@")
[ $# -gt 0 ] || chosen=("${parts[@]}")
for part in "${chosen[@]}"; do
  is_alive "$part" && continue
  "launch_$part"
  [ "$part" != apiserver ] || wait_for apiserver 60 answers
done
wait_for kubelet 90 has_node
wait_for controller-manager 60 has_account
k apply -f - > /dev/null << YAML
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: berth-test, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/host-path
YAML
echo "$admin"
