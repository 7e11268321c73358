package git_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

func TestRefs(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	first := s.push(map[string]string{"f": "1"})
	second := s.push(map[string]string{"f": "2"})
	for _, args := range [][]string{
		{"tag", "v1", first}, {"tag", "-a", "-m", "two", "v2", second},
		{"tag", "-a", "-m", "nested", "v2.1", "v2"}, {"tag", "tree", second + "^{tree}"},
		{"branch", "both", first}, {"tag", "both", second}, {"branch", "team/a", first},
	} {
		s.git(args...)
	}
	if err := s.repo.Push(t.Context(), "refs/*:refs/*"); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		ref, sha, name string
		class          fault.Class
		words          []string
	}{
		"nothing is the remote's HEAD":       {ref: "", sha: second, name: "refs/heads/main"},
		"HEAD":                               {ref: "HEAD", sha: second, name: "refs/heads/main"},
		"a branch":                           {ref: "main", sha: second, name: "refs/heads/main"},
		"a branch with a slash":              {ref: "team/a", sha: first, name: "refs/heads/team/a"},
		"a tag":                              {ref: "v1", sha: first, name: "refs/tags/v1"},
		"an annotated tag is its commit":     {ref: "v2", sha: second, name: "refs/tags/v2"},
		"a tag of a tag is its commit":       {ref: "v2.1", sha: second, name: "refs/tags/v2.1"},
		"a full ref":                         {ref: "refs/tags/both", sha: second, name: "refs/tags/both"},
		"a full SHA at the tip of a ref":     {ref: first, sha: first},
		"a full SHA in upper case":           {ref: strings.ToUpper(first), sha: first},
		"a name that is branch and tag":      {ref: "both", class: fault.Permanent, words: []string{`"both"`, "refs/heads/both", s.repo.URL()}},
		"a name that is not there":           {ref: "nope", class: fault.Permanent, words: []string{`"nope"`, "branch or tag", s.repo.URL()}},
		"a full ref that is not there":       {ref: "refs/heads/nope", class: fault.Permanent, words: []string{`"refs/heads/nope"`}},
		"a tag of a tree":                    {ref: "tree", class: fault.Permanent, words: []string{"refs/tags/tree", "is no commit"}},
		"a SHA that nobody has":              {ref: strings.Repeat("a", 40), class: fault.Permanent, words: []string{"no such commit"}},
		"the beginning of a SHA is no SHA":   {ref: first[:12], class: fault.Permanent, words: []string{"branch or tag"}},
		"a branch that looks like an option": {ref: "--upload-pack=x", class: fault.Permanent, words: []string{"dash"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Ref: tt.ref})
			if tt.sha == "" {
				reason := fault.FetchFailed
				if strings.HasPrefix(tt.ref, "-") {
					reason = fault.SourceRefused
				}
				wantFault(t, err, tt.class, reason, tt.words...)
				return
			}
			if err != nil || c.SHA != tt.sha || c.Ref != tt.name {
				t.Fatalf("got %s %s (%v), want %s %s", c.Ref, c.SHA, err, tt.name, tt.sha)
			}
			s.in(t).wantSound(c.SHA)
		})
	}
	t.Run("the list has all of them with their commits", func(t *testing.T) {
		refs, err := s.store.Refs(t.Context(), s.url(), git.Credential{})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"HEAD": second, "refs/heads/main": second, "refs/heads/both": first, "refs/heads/team/a": first, "refs/tags/both": second,
			"refs/tags/v1": first, "refs/tags/v2": second, "refs/tags/v2.1": second, "refs/tags/tree": s.git("rev-parse", "tree"),
		}
		if diff := cmp.Diff(want, refs); diff != "" {
			t.Errorf("refs (-want +got):\n%s", diff)
		}
		name, sha, err := git.Resolve(refs, "v2")
		if err != nil || name != "refs/tags/v2" || sha != second {
			t.Errorf("v2 resolves to %s %s (%v)", name, sha, err)
		}
	})
}

func TestCommitThatIsNoTip(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	old := s.push(map[string]string{"f": "1"})
	gone := s.push(map[string]string{"f": "2"})
	s.git("reset", "-q", "--hard", old)
	s.forced()
	s.push(map[string]string{"f": "3"})

	c, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Ref: old})
	if err != nil || c.SHA != old || c.Ref != "" {
		t.Fatalf("got %+v (%v), want %s", c, err, old)
	}
	s.wantSound(old)
	_, err = s.store.Fetch(t.Context(), git.Query{URL: s.url(), Ref: gone})
	wantFault(t, err, fault.Permanent, fault.FetchFailed, "only the tips", s.repo.URL())
}

func TestEmptyAndMissingRepositories(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	_, err := s.store.Fetch(t.Context(), git.Query{URL: s.url()})
	wantFault(t, err, fault.Permanent, fault.FetchFailed, "empty", s.repo.URL())

	missing, err := git.ParseURL(s.server.URL("nope"), loopback)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.store.Fetch(t.Context(), git.Query{URL: missing})
	wantFault(t, err, fault.Permanent, fault.FetchFailed, "no such repository", missing.String())
	_, err = s.store.Refs(t.Context(), missing, git.Credential{})
	wantFault(t, err, fault.Permanent, fault.FetchFailed, "no such repository", missing.String())
}

// answers makes the server give every request for refs, or for a pack, this answer.
func answers(pack bool, answer http.HandlerFunc) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			isPack := strings.HasSuffix(r.URL.Path, "/git-upload-pack")
			isList := r.URL.Query().Get("service") == "git-upload-pack"
			if pack && isPack || !pack && isList {
				answer(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func status(code int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprintf(w, "you sent %s", r.Header.Get("Authorization"))
	}
}

// silent sends a beginning and then nothing until the client hangs up.
func silent(begin string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		_, _ = io.WriteString(w, begin)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

func TestWhatServersAnswer(t *testing.T) {
	tests := map[string]struct {
		pack   bool
		answer http.HandlerFunc
		class  fault.Class
		reason fault.Reason
		words  []string
	}{
		"500":                        {answer: status(500), class: fault.Transient, words: []string{"500"}},
		"503 for the pack":           {pack: true, answer: status(503), class: fault.Transient, words: []string{"503"}},
		"429 with Retry-After":       {answer: status(429, "Retry-After", "7"), class: fault.RetryAfter, words: []string{"429"}},
		"403 with Retry-After":       {answer: status(403, "Retry-After", "7"), class: fault.RetryAfter, words: []string{"403"}},
		"403":                        {answer: status(403), class: fault.Permanent, words: []string{"check the Secret"}},
		"401 for the pack":           {pack: true, answer: status(401), class: fault.Permanent, words: []string{"check the Secret"}},
		"400":                        {answer: status(400), class: fault.Permanent, words: []string{"400"}},
		"a page":                     {answer: status(200, "Content-Type", "text/html"), class: fault.Transient, words: []string{"text/html", "clone URL"}},
		"garbage for refs":           {answer: status(200, "Content-Type", "application/x-git-upload-pack-advertisement"), class: fault.Transient},
		"garbage for a pack":         {pack: true, answer: status(200), class: fault.Transient},
		"no answer at all":           {answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, class: fault.Transient, words: []string{"fell silent"}},
		"silence":                    {answer: silent(""), class: fault.Transient, words: []string{"fell silent"}},
		"silence for the pack":       {pack: true, answer: silent(""), class: fault.Transient, words: []string{"fell silent"}},
		"silence within the pack":    {pack: true, answer: silent("00000008NAK\n0010\x01PACK\x00\x00\x00\x02\x00"), class: fault.Transient, words: []string{"fell silent"}},
		"a pack that is cut":         {pack: true, answer: status(200), class: fault.Transient},
		"an error within the pack":   {pack: true, answer: text("00000008NAK\n0012\x03access denied"), class: fault.Transient, words: []string{"access denied"}},
		"an error with what we sent": {pack: true, answer: text("00000008NAK\n0027\x03no s3cret, dTpzM2NyZXQ=, please\r\n!"), class: fault.Transient, words: []string{"[redacted]"}},
		"an error instead of a pack": {pack: true, answer: text("001aERR repository is busy"), class: fault.Transient, words: []string{"repository is busy"}},
		"a pack that never ends":     {pack: true, answer: endless, class: fault.Permanent, words: []string{"more than the limit"}},
		"refs that never end":        {answer: endlessRefs, class: fault.Permanent, words: []string{"more than the limit"}},
	}
	var wrap atomic.Pointer[func(http.Handler) http.Handler]
	all := newSite(t, gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if with := wrap.Load(); with != nil {
				(*with)(next).ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}}, git.Options{})
	all.push(map[string]string{"f": "1"})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			with := answers(tt.pack, tt.answer)
			wrap.Store(&with)
			s := all.in(t)
			s.dir = t.TempDir()
			o := git.Options{MaxPack: 1 << 20}
			if slices.Contains(tt.words, "fell silent") {
				o.Stall = 300 * time.Millisecond
			}
			s.open(o)
			c, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Credential: git.Basic("u", "s3cret")})
			if err == nil {
				t.Fatalf("got %+v", c)
			}
			wantFault(t, err, tt.class, fault.FetchFailed, append(tt.words, s.repo.URL())...)
			if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "dTpzM2NyZXQ=") {
				t.Errorf("the error tells the credential: %v", err)
			}
			if _, wait := fault.ClassOf(err); tt.class == fault.RetryAfter && wait != 7*time.Second {
				t.Errorf("wait is %s", wait)
			}
		})
	}
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, s)
	}
}

// endless is a pack of one blob without end: stored blocks of zlib.
func endless(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, "00000008NAK\n")
	frame := func(b string) bool {
		_, err := fmt.Fprintf(w, "%04x\x01%s", len(b)+5, b)
		return err == nil
	}
	if !frame("PACK\x00\x00\x00\x02\x00\x00\x00\x01" + "\xbf\xff\xff\xff\xff\x0f" + "\x78\x01") {
		return
	}
	block := "\x00\x00\x40\xff\xbf" + strings.Repeat("x", 0x4000)
	for frame(block) {
	}
}

func endlessRefs(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
	line := func(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }
	sha := strings.Repeat("a", 40)
	_, _ = io.WriteString(w, line("# service=git-upload-pack\n")+"0000"+line(sha+" HEAD\x00side-band-64k\n"))
	many := strings.Repeat(line(sha+" refs/heads/x\n"), 10_000)
	for {
		if _, err := io.WriteString(w, many); err != nil {
			return
		}
	}
}

func TestCutOffPackLeavesTheStoreAsItWas(t *testing.T) {
	var cut atomic.Bool
	s := newSite(t, gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !cut.Load() || !strings.HasSuffix(r.URL.Path, "/git-upload-pack") {
				next.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			maps.Copy(w.Header(), rec.Header())
			_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()-30])
			panic(http.ErrAbortHandler)
		})
	}}, git.Options{})
	s.wantFile(s.push(map[string]string{"f": "1"}), "f", "1")
	sha := s.push(map[string]string{"f": "2"})
	cut.Store(true)
	_, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Ref: "main"})
	wantFault(t, err, fault.Transient, fault.FetchFailed, s.repo.URL())
	cut.Store(false)
	s.wantFile(sha, "f", "2")
}

func TestOldBranchIsTakenWithoutItsHistory(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{MaxPack: 64 << 10})
	s.push(map[string]string{"f": "1"})
	s.git("checkout", "-q", "-b", "side")
	for i := range 4 {
		s.push(map[string]string{"noise": noise(i, 40<<10)})
	}
	s.push(map[string]string{"noise": "quiet"})
	s.git("checkout", "-q", "main")
	s.wantFile(s.push(map[string]string{"f": "2"}), "f", "2")
	s.git("merge", "-q", "-m", "merge", "side")
	s.wantFile(s.push(nil), "noise", "quiet")
	s.wantFile(s.push(map[string]string{"f": "3"}), "f", "3")
	if s.log.contains("replace Git store") {
		t.Errorf("the store was replaced: %q", s.log.lines)
	}
}

// noise is text that does not compress.
func noise(seed, n int) string {
	out := make([]byte, n)
	x := uint64(seed)*2654435761 + 88172645463325252
	for i := range out {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		out[i] = byte(x)
	}
	return string(out)
}
