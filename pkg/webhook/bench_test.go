package webhook_test

import (
	"testing"
)

// What a push costs beyond reading and authenticating it.
func BenchmarkParseGitHubPush(b *testing.B) {
	q := sample(b, "github/push")
	p := provider(b, "github")
	b.SetBytes(int64(len(q.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if d, err := p.Parse(q); err != nil || len(d.Events) != 1 {
			b.Fatal(d, err)
		}
	}
}

func BenchmarkAuthenticateGitHub(b *testing.B) {
	q := sample(b, "github/push")
	p := provider(b, "github")
	secrets := [][]byte{[]byte("a secret of the hook")}
	b.SetBytes(int64(len(q.Body)))
	b.ReportAllocs()
	for b.Loop() {
		p.Authenticate(q, secrets)
	}
}
