"""What the pages of the book share; each module is one idea and can be read in one sitting."""
