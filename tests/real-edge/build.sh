#!/bin/sh
# Builds a genuine Kubernetes 1.36 control plane (kube-lite) and kubectl from Go modules into the folder $1, versions stamped as
# the official binaries have them. Cheap when nothing changed: Go's build cache decides.
set -e
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")"
v=k8s.io/component-base/version
flags="-s -w -X $v.gitVersion=v1.36.3 -X $v.gitMajor=1 -X $v.gitMinor=36 -X $v.gitTreeState=clean"
go build -trimpath -ldflags "$flags" -o "$out/kube-lite" .
go build -trimpath -ldflags "$flags" -o "$out/kubectl" k8s.io/kubernetes/cmd/kubectl
