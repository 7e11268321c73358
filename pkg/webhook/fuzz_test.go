package webhook_test

import (
	"strings"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/webhook"
)

// fuzzed feeds one parser: whatever the event header and the body say, the
// answer is a sound delivery or an orderly refusal. Seeds are the real payloads.
func fuzzed(f *testing.F, name string) {
	for _, file := range samples(f) {
		if kind, found := strings.CutPrefix(file, name+"/"); found {
			q := sample(f, file)
			f.Add(kind, q.Body)
		}
	}
	f.Add("push", []byte(`{"repo": "https://h/a", "ref": "refs/heads/main", "after": "`+headSHA+`"}`))
	f.Add("push", []byte(`{"image": "nginx", "tag": "1"}`))
	p := provider(f, name)
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		try(t, p, webhook.Request{Header: headersOf(name, kind), Body: body})
	})
}

func FuzzGitHub(f *testing.F)          { fuzzed(f, "github") }
func FuzzGitLab(f *testing.F)          { fuzzed(f, "gitlab") }
func FuzzGitea(f *testing.F)           { fuzzed(f, "gitea") }
func FuzzBitbucket(f *testing.F)       { fuzzed(f, "bitbucket") }
func FuzzBitbucketServer(f *testing.F) { fuzzed(f, "bitbucket-server") }
func FuzzGeneric(f *testing.F)         { fuzzed(f, "generic") }
func FuzzDockerHub(f *testing.F)       { fuzzed(f, "dockerhub") }
func FuzzGHCR(f *testing.F)            { fuzzed(f, "ghcr") }
func FuzzQuay(f *testing.F)            { fuzzed(f, "quay") }
func FuzzHarbor(f *testing.F)          { fuzzed(f, "harbor") }
func FuzzDistribution(f *testing.F)    { fuzzed(f, "distribution") }
