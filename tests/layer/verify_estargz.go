// Holds every chunk of an eStargz layer against its table, by stargz-snapshotter's own library. By hand: Go and the
// library are half a gigabyte.
//
//	apt-get install golang-go golang-github-containerd-stargz-snapshotter-dev
//	GO111MODULE=off GOPATH=/usr/share/gocode go run tests/layer/verify_estargz.go BLOB DIGEST
//
// BLOB is the layer's file in an OCI layout, DIGEST its annotation containerd.io/snapshot/stargz/toc.digest.
package main

import (
	"fmt"
	"io"
	"os"
	"path"

	"github.com/containerd/stargz-snapshotter/estargz"
	digest "github.com/opencontainers/go-digest"
)

var files, chunks int

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "not as it should be:", err)
		os.Exit(1)
	}
}

func verify(r *estargz.Reader, v estargz.TOCEntryVerifier, name string, e *estargz.TOCEntry) {
	if e.Type == "reg" && e.Size > 0 {
		content, err := r.OpenFile(name)
		must(err)
		whole := digest.SHA256.Digester()
		for at := int64(0); at < e.Size; {
			chunk, ok := r.ChunkEntryForOffset(e.Name, at) // that of the first name, of several
			if !ok {
				must(fmt.Errorf("%s has no chunk at %d", name, at))
			}
			data := make([]byte, min(chunk.ChunkSize, e.Size-at))
			if _, err := content.ReadAt(data, at); err != io.EOF {
				must(err)
			}
			verifier, err := v.Verifier(chunk)
			must(err)
			verifier.Write(data)
			if !verifier.Verified() {
				must(fmt.Errorf("%s differs from its table at %d", name, at))
			}
			whole.Hash().Write(data)
			at += int64(len(data))
			chunks++
		}
		if whole.Digest().String() != e.Digest {
			must(fmt.Errorf("%s is %s, its table says %s", name, whole.Digest(), e.Digest))
		}
		files++
	}
	e.ForeachChild(func(base string, child *estargz.TOCEntry) bool {
		verify(r, v, path.Join(name, base), child)
		return true
	})
}

// min is the size of a chunk; the last one of a file has none of its own.
func min(size, left int64) int64 {
	if size == 0 || size > left {
		return left
	}
	return size
}

func main() {
	blob, err := os.Open(os.Args[1])
	must(err)
	about, err := blob.Stat()
	must(err)
	r, err := estargz.Open(io.NewSectionReader(blob, 0, about.Size()))
	must(err)
	v, err := r.VerifyTOC(digest.Digest(os.Args[2]))
	must(err)
	root, ok := r.Lookup("")
	if !ok {
		must(fmt.Errorf("a table without a root"))
	}
	verify(r, v, "", root)
	fmt.Println(files, "files in", chunks, "chunks are as the table says")
}
