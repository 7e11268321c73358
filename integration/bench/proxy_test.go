package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestRequestsAreToldApart(t *testing.T) {
	cases := map[string]struct {
		method, url string
		want        request
	}{
		"an apply":                  {http.MethodPatch, "/apis/apps/v1/namespaces/a/deployments/b?fieldManager=x", request{"patch", "deployments.apps", ofObjects}},
		"a status":                  {http.MethodPut, "/apis/plumb.dev/v1alpha1/namespaces/a/applications/b/status", request{"update", "applications.plumb.dev/status", ofObjects}},
		"an object of the core":     {http.MethodGet, "/api/v1/namespaces/a/services/b", request{"get", "services", ofObjects}},
		"a namespace":               {http.MethodGet, "/api/v1/namespaces/a", request{"get", "namespaces", ofObjects}},
		"a namespace's status":      {http.MethodPatch, "/api/v1/namespaces/a/status", request{"patch", "namespaces/status", ofObjects}},
		"a list of all namespaces":  {http.MethodGet, "/apis/networking.k8s.io/v1/ingresses?limit=500", request{"list", "ingresses.networking.k8s.io", ofObjects}},
		"a watch":                   {http.MethodGet, "/api/v1/services?watch=true", request{"watch", "services", ofWatches}},
		"a watch of another client": {http.MethodGet, "/api/v1/services?watch=1", request{"watch", "services", ofWatches}},
		"a deletion of many":        {http.MethodDelete, "/api/v1/namespaces/a/services", request{"delete", "services", ofObjects}},
		"a Kubernetes Event":        {http.MethodPost, "/api/v1/namespaces/a/events", request{"create", "events", ofObjects}},
		"a lease":                   {http.MethodPut, "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", request{"update", "leases.coordination.k8s.io", ofSelf}},
		"a review":                  {http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews", request{"create", "tokenreviews.authentication.k8s.io", ofSelf}},
		"discovery of a group":      {http.MethodGet, "/apis/apps/v1", request{"get", "/apis/apps/v1", ofSelf}},
		"discovery of the core":     {http.MethodGet, "/api/v1", request{"get", "/api/v1", ofSelf}},
		"schemas":                   {http.MethodGet, "/openapi/v3/apis/apps/v1", request{"get", "/openapi/v3/apis/apps/v1", ofSelf}},
		"the version":               {http.MethodGet, "/version", request{"get", "/version", ofSelf}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			u, err := url.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			if got := requestOf(c.method, u); got != c.want {
				t.Errorf("%s %s is %+v, want %+v", c.method, c.url, got, c.want)
			}
		})
	}
}

func TestOnlyWhatChangesSomethingIsAWrite(t *testing.T) {
	before := requests{{"patch", "services", ofObjects}: 2}
	now := requests{
		{"patch", "services", ofObjects}: 3, {"get", "services", ofObjects}: 5, {"list", "services", ofObjects}: 17, {"watch", "services", ofWatches}: 7,
		{"update", "leases.coordination.k8s.io", ofSelf}: 11, {"create", "tokenreviews.authentication.k8s.io", ofSelf}: 13,
	}.since(before)
	if n := now.writes(); n != 12 {
		t.Errorf("%d writes, want the patch and the updates of leases: %s", n, now)
	}
	if n := now.kind(ofObjects); n != 23 {
		t.Errorf("%d requests about objects, want 23: %s", n, now)
	}
}

func TestAMetricIsSummedOverItsLabels(t *testing.T) {
	text := "# HELP plumb_renders_total 7\nplumb_renders_total{cache=\"hit\"} 2\nplumb_renders_total{cache=\"miss\"} 3\nplumb_renders_total_more 5\nother 1e3\n"
	for name, want := range map[string]float64{"plumb_renders_total": 5, "other": 1000, "none": 0} {
		if got, err := sumOf(strings.NewReader(text), name); got != want || err != nil {
			t.Errorf("%s is %v (%v), want %v", name, got, err, want)
		}
	}
}
