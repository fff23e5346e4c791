"""imagesmith as a library: what the command line can do, as functions; see each module.

    import imagesmith

    built = imagesmith.build("app", tags=["registry.example/app:1"], outputs=["type=oci,dest=app.tar"])
    print(built.digest, built.image_id)
    imagesmith.push("registry.example/app:1")

Why: the same values and the same errors as the command line, without its screen: nothing is printed, what
happens is told to `events`, and every failure is an imagesmith.ImagesmithError with an `exit_code`.
The calling process stays as it is: what executes steps does so in a child (child.py), which an interrupt
ends. A program needs no `if __name__ == "__main__"`, and signals stay its own.
Threads: every function may be called from any, several at a time; programs under asyncio, and Jupyter's
cells, call them as they are or by `await asyncio.to_thread(imagesmith.build, ".")`.
"""
