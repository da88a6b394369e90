"""``python -m deploy.image [JAVA_HOME]``: the last step of an image's build, once the code is in it.

Installs the project and its Ray provider without their packages, which are there already: Airflow finds provider and
plugin by entry points. With JAVA_HOME it also writes the launcher for the packaged Java there.
"""

import subprocess
import sys
from pathlib import Path

from etl.java import find_java_home


def main(arguments: list[str]) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    install = ["pip", "install", "--quiet", "--python", sys.executable, "--no-deps", "--no-build-isolation"]
    subprocess.run([uv, *install, "--offline", "--editable", ".", "--editable", "./airflow_ray"], check=True)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-x", r"\.venv", "."], check=True)
    for java_home in arguments:
        home = Path(find_java_home(Path(java_home).parent))  # writes <parent>/java where the image has no other Java
        if home != Path(java_home):
            Path(java_home).symlink_to(home)


if __name__ == "__main__":
    main(sys.argv[1:])
