"""Files as sources and sinks: `FileSource` and `FileSink`, with `JsonLines`, `Csv` or `Parquet`.

source.py      files as splits                         sink.py       parts that appear with a checkpoint
paths.py       which files a path means                parts.py      their names
lines.py       lines, and where they begin             fencing.py    who may write
json_lines.py  csv_files.py  parquet.py                the formats
"""

from actorstream.connectors.files.csv_files import Csv as Csv
from actorstream.connectors.files.json_lines import JsonLines as JsonLines
from actorstream.connectors.files.parquet import Parquet as Parquet
from actorstream.connectors.files.sink import FileSink as FileSink
from actorstream.connectors.files.source import FileSource as FileSource
