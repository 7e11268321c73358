package chart

import (
	"net/url"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Whatever an index says, it ends in an error or in releases that can be asked for.
func FuzzIndex(f *testing.F) {
	f.Add("apiVersion: v1\nentries: {web: [{version: 1.0.0, urls: [web-1.0.0.tgz], digest: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}]}", "web", "^1")
	f.Add(`{"apiVersion":"v1","entries":{"web":[{"version":1,"urls":null}]}}`, "web", "")
	f.Add("apiVersion: v1\nentries: &a {web: [*a]}", "web", "1")
	fetcher := New(nil, Options{})
	repo, err := url.Parse("https://charts.local/stable/")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, name, version string) {
		wanted, err := parseRange(version)
		if err != nil {
			return
		}
		i, err := parseIndex([]byte(text))
		if err == nil {
			var r release
			if r, err = i.find(name, version, wanted); err == nil {
				if r.Version == "" || r.Digest != "" && !digestForm.MatchString(r.Digest) {
					t.Fatalf("%+v", r)
				}
				_, err = (&remote{fetcher: fetcher, repo: repo}).resolve(r.URL)
			}
		}
		if class, _ := fault.ClassOf(err); err != nil && class != fault.Permanent {
			t.Fatal(err)
		}
	})
}
