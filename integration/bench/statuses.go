package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// firstSync is the floor's revision of a first sync; those after it are named by changes.
const firstSync = "first"

// statuses are the merge patches with which the floor brings an Application to a revision,
// each from the status of the one before.
type statuses map[string][]byte

// leanStatuses have what makes an Application Ready at a revision, and nothing else.
func leanStatuses() statuses {
	list := statuses{}
	for _, revision := range revisions() {
		list[revision] = fmt.Appendf(nil, `{"status":{"revision":%q,"conditions":[{"type":"Ready","status":"True","reason":"Succeeded","message":"","lastTransitionTime":%q}]}}`,
			revision, time.Now().UTC().Format(time.RFC3339))
	}
	return list
}

func revisions() []string {
	list := []string{firstSync}
	for n := range mostCommits {
		list = append(list, changeName(n))
	}
	return list
}

// left collects the statuses that Plumb leaves, one after the other.
type left struct {
	list statuses
	last []byte // as JSON, with the floor's revision
}

func newLeft() *left { return &left{list: statuses{}, last: []byte("{}")} }

// see takes in the status that an Application has at a revision of the floor.
func (l *left) see(ctx context.Context, w *world, ns, revision string) error {
	u, err := w.objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns).Get(ctx, appName(0), metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := unstructured.SetNestedField(u.Object, revision, "status", "revision"); err != nil {
		return err
	}
	now, err := json.Marshal(map[string]any{"status": u.Object["status"]})
	if err != nil {
		return err
	}
	l.list[revision], err = jsonmergepatch.CreateThreeWayJSONMergePatch(l.last, now, l.last)
	l.last = now
	return err
}
