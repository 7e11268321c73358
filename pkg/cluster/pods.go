package cluster

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/object"
)

const (
	// maxPods is how many Pods, and ReplicaSets, of one object are looked at.
	maxPods = 50
	// maxLine is how many bytes of a line are read.
	maxLine = 4096
)

var (
	podKind        = schema.GroupVersionKind{Version: "v1", Kind: "Pod"}
	replicaSetKind = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "ReplicaSet"}
	// overReplicaSets own their Pods through ReplicaSets; the annotation numbers those.
	overReplicaSets = map[schema.GroupKind]string{
		{Group: "apps", Kind: "Deployment"}:     "deployment.kubernetes.io/revision",
		{Group: "argoproj.io", Kind: "Rollout"}: "rollout.argoproj.io/revision",
	}
	overPods = []schema.GroupKind{
		{Group: "apps", Kind: "ReplicaSet"}, {Group: "apps", Kind: "StatefulSet"}, {Group: "apps", Kind: "DaemonSet"}, {Group: "batch", Kind: "Job"},
	}
)

// HasPods says whether Pods tells of the Pods of a kind.
func HasPods(kind schema.GroupKind) bool {
	_, numbered := overReplicaSets[kind]
	return numbered || kind == podKind.GroupKind() || slices.Contains(overPods, kind)
}

// Pods reads the Pods that a live object controls, at most fifty: itself when it is
// one, for a Deployment those of its newest ReplicaSet. None for kinds without Pods.
func (c *Client) Pods(ctx context.Context, owner *unstructured.Unstructured) ([]unstructured.Unstructured, error) {
	kind := owner.GroupVersionKind().GroupKind()
	if kind == podKind.GroupKind() {
		return []unstructured.Unstructured{*owner}, nil
	}
	if numbered, is := overReplicaSets[kind]; is {
		sets, err := c.controlled(ctx, replicaSetKind, owner)
		if err != nil || len(sets) == 0 {
			return nil, err
		}
		newest := slices.MaxFunc(sets, func(a, b unstructured.Unstructured) int {
			return cmp.Compare(revision(a, numbered), revision(b, numbered))
		})
		return c.controlled(ctx, podKind, &newest)
	}
	if !HasPods(kind) {
		return nil, nil
	}
	return c.controlled(ctx, podKind, owner)
}

func revision(u unstructured.Unstructured, annotation string) int64 {
	n, err := strconv.ParseInt(u.GetAnnotations()[annotation], 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// controlled reads the first of what owner selects, and keeps what it controls.
func (c *Client) controlled(ctx context.Context, gvk schema.GroupVersionKind, owner *unstructured.Unstructured) ([]unstructured.Unstructured, error) {
	labels, err := selectorOf(owner)
	if err != nil {
		return nil, err
	}
	k, err := c.cluster.kinds.find(ctx, gvk)
	if err != nil {
		return nil, err
	}
	query := url.Values{"limit": {strconv.Itoa(maxPods)}, "labelSelector": {labels}}
	found, _, err := c.page(ctx, k, gvk, owner.GetNamespace(), query)
	return slices.DeleteFunc(found, func(u unstructured.Unstructured) bool {
		controller := metav1.GetControllerOf(&u)
		return controller == nil || controller.UID != owner.GetUID()
	}), err
}

// selectorOf refuses one that would select everything.
func selectorOf(owner *unstructured.Unstructured) (string, error) {
	raw, _, _ := unstructured.NestedMap(owner.Object, "spec", "selector")
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &selector); err != nil {
		return "", fmt.Errorf("read the selector of %s: %w", object.IDOf(owner).Human(), err)
	}
	labels, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil || labels.Empty() {
		return "", fmt.Errorf("read the selector of %s: it selects nothing of its own", object.IDOf(owner).Human())
	}
	return labels.String(), nil
}

// LastLine reads the last line that a container wrote, or with previous the one
// that ran before it: as it is, at most 4 KiB, whole says whether that was all of
// it. It may hold secrets: see object.RedactText.
func (c *Client) LastLine(ctx context.Context, pod object.ID, container string, previous bool) (line string, whole bool, err error) {
	if err := checkName(pod); err != nil {
		return "", false, err
	}
	ask := action{"read the log of", pod, c.identity}
	req := c.verb("GET").AbsPath("/api/v1/namespaces", pod.Namespace, "pods", pod.Name, "log").
		Param("container", container).Param("previous", strconv.FormatBool(previous)).
		Param("tailLines", "1").Param("limitBytes", strconv.Itoa(maxLine))
	body, err := req.Stream(ctx)
	if err != nil {
		return "", false, classify(ask, err)
	}
	defer func() { _ = body.Close() }()
	text, err := io.ReadAll(io.LimitReader(body, maxLine+1))
	if err != nil {
		return "", false, classify(ask, err)
	}
	whole = len(text) < maxLine
	return string(text[:min(len(text), maxLine)]), whole, nil
}
